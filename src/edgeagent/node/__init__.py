"""The node: keeps a link to a gateway, runs each job in its own sandbox, delivers what came of it."""
