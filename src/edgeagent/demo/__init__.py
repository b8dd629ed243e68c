"""A whole network on one machine: what ``edgeagent demo`` runs, all of it the real thing.

``network`` starts the gateway and the node as processes of their own, ``jobs`` says what is submitted and what has to
come out, ``report`` is the document and the tables at the end.
"""
