"""Runs in a virtual machine, as a service: does what the other side asks for, one command after the other.

Connects to the address on its command line.  A line of JSON each way: the command; its exit code and what it printed.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys


def main() -> None:
    """Serve until the other side is gone."""
    with socket.create_connection((sys.argv[1], int(sys.argv[2]))) as link, link.makefile("rw") as lines:
        for line in lines:
            done = subprocess.run(
                json.loads(line), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
            )
            lines.write(json.dumps([done.returncode, done.stdout, done.stderr]) + "\n")
            lines.flush()


if __name__ == "__main__":
    main()
