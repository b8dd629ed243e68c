"""The whole network in one process on a virtual clock: a gateway, many nodes, a day of faults, in under a minute.

Everything that decides is the real thing: the gateway's hub, relay, dispatch, leases and store, the node's rings,
session, spool and back-off.  What is simulated is what lies between and below: the lines, the sandbox, the clocks, and
who submits.  ``scenario`` says what is to happen, ``world`` makes it happen, ``laws`` checks what must always hold.
"""
