"""The owner's view of a node in a browser, and its figures for Prometheus: what ``health`` serves beside ``/health``.

Everything shown comes from one document (``node.snapshot``) and the gateway's books; ``document`` and ``figures`` are
pure.  Much of the text is strangers' (jobs', the gateway's), so nothing becomes HTML but through ``markup``.
"""
