"""This machine's own scores, for ``edgeagent bench``: processor, memory and disk, sandboxes, and the plugins' jobs.

They compare a machine with itself, before and after a change, and with others that say the same schema.  They decide
nothing: the gateway gives jobs by load alone.
"""
