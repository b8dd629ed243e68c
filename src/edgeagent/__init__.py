"""Lend a machine to a compute network: the node agent, the gateway and the wire between them."""

from importlib.metadata import version

__version__ = version("edgeagent")
