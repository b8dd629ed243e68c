"""What this node can prove about its pay: receipts that it has signed, and what the gateway has signed in turn.

``book`` keeps them on disk, ``keeper`` fills it while the node runs, ``check`` compares them with what a gateway says
of a month, and ``audit`` asks the gateway.
"""
