"""What node and gateway say to each other, without any I/O or clock.

``messages`` are the values, ``codec`` turns them into text frames and back, ``link`` is the session's state machine,
``identity`` holds keys and tokens, ``units`` the money and sizes.
"""
