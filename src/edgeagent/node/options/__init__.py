"""What a node's owner can set: one table of options, from which everything about them follows.

An option is declared once, as a field of a section in ``sections``: its type, its default, what it does, and the
variable and flag that also set it.  Loading (``resolve``), ``edgeagent config``, the flags of ``edgeagent run`` and the
table in docs/configuration.md are all made of these declarations.  None of it is secret: who the node is, and its
token, are in ``node.config``, so that options can be read before the sandbox is started and secrets after it.
"""
