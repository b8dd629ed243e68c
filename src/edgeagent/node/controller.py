"""A command's end of the control socket: ask the node that runs from a home, without trio, since commands start often.

``node.control`` says what the lines are.
"""

from __future__ import annotations

import json
import socket
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from edgeagent.errors import EdgeAgentError, UnreachableError
from edgeagent.node.socketpath import SOCKET, VERSION, address

#: Seconds that a node has for an answer.
TIMEOUT_S = 30.0


class Controller:
    """One connection to a running node; use it as a context manager.

    Raises:
        UnreachableError: no node runs from that home.
    """

    def __init__(self, home: Path) -> None:
        self._home = home
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)

    def __enter__(self) -> Self:
        try:
            self._socket.settimeout(TIMEOUT_S)
            with address(self._home) as path:
                self._socket.connect(path)
        except (FileNotFoundError, ConnectionError):
            self._socket.close()
            raise UnreachableError(f"no node runs from {self._home}; start one with: edgeagent run") from None
        except OSError as error:
            self._socket.close()
            raise UnreachableError(f"{self._home / SOCKET} cannot be used: {error.strerror or error}") from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def ask(self, do: str, **details: Any) -> dict[str, Any]:
        """Return the node's answer to one request.

        Raises:
            EdgeAgentError: the node says no, in its words.
            UnreachableError: it ended meanwhile, or does not answer.
        """
        request = {"v": VERSION, "do": do, **{key: value for key, value in details.items() if value is not None}}
        try:
            self._socket.sendall((json.dumps(request) + "\n").encode())
            line = b""
            while not line.endswith(b"\n"):
                more = self._socket.recv(1 << 20)
                if not more:
                    raise UnreachableError("the node ended before it answered")
                line += more
        except OSError as error:
            raise UnreachableError(f"the node does not answer: {error.strerror or error}") from None
        answer: dict[str, Any] = json.loads(line)
        if not answer.get("ok"):
            raise EdgeAgentError(str(answer.get("error")))
        return answer

    def wait(self) -> None:
        """Wait until the node has ended."""
        self._socket.settimeout(None)
        try:
            while self._socket.recv(1 << 16):
                pass
        except OSError:
            return  # that is an end, too
