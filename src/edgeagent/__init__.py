"""Lend a machine to a compute network: the node agent, the gateway and the wire between them."""

__version__ = "0.1.0"
