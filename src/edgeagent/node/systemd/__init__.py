"""The node as a service of systemd: what it tells systemd while it runs, and the unit that it is started by."""
