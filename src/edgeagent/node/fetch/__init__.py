"""How a node gets what a job's references point to: from the gateway, from an ``https://`` server, or from S3.

A ``source`` knows one kind of place and how to go on where an earlier connection was cut; ``download`` brings one file
onto the disk, whatever the network does; ``node.inputs`` calls it for each reference of a job.
"""
