"""``edgeagent doctor``: is everything there that a node needs, and what to do where it is not.

``verdicts`` decides from values, ``host``, ``home`` and ``reach`` look at the machine, at the node's files and at the
network, and ``examine`` does it all.  Nothing here needs a running node, and nothing changes anything.
"""
