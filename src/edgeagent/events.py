"""A job's server-sent events, read line by line: what ``client`` keeps of them between two streams.  Pure."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

Json = dict[str, Any]


class Follower:
    """One job as its events tell it, over as many streams as it takes.

    Args:
        job: the job as it was before the first event.
        changed: called with the job each time it has changed.
        printed: called with each line that the job prints.
    """

    def __init__(self, job: Json, changed: Callable[[Json], None], printed: Callable[[str], None]) -> None:
        self.job = job
        self.heard = 0  # events, so that a caller sees whether a stream brought any
        self._changed, self._printed = changed, printed
        self._last_id = ""
        self._fields: dict[str, str] = {}

    @property
    def headers(self) -> dict[str, str]:
        """What the next stream is asked for with, so that it goes on where this one ended."""
        return {"Last-Event-ID": self._last_id} if self._last_id else {}

    def opened(self) -> None:
        """A stream begins: what was left half told is told again."""
        self._fields.clear()

    def line(self, line: str) -> None:
        """Take one line of a stream; comments and what is not understood are passed over."""
        if line:
            name, _, value = line.partition(":")
            self._fields[name] = value.removeprefix(" ")
            return
        fields, self._fields = self._fields, {}
        try:
            data = json.loads(fields.get("data", ""))
        except ValueError:
            return
        if isinstance(data, dict):
            self._event(fields.get("event", ""), data)
            self._last_id = fields.get("id", self._last_id)
            self.heard += 1

    def _event(self, kind: str, data: Json) -> None:
        if kind == "job":
            self.job = data
            self._changed(self.job)
        elif kind == "progress":
            self.job = {**self.job, "progress": {"fraction": data.get("fraction"), "text": data.get("text", "")}}
            self._changed(self.job)
        elif kind == "log":
            for line in data.get("lines", ()):
                self._printed(str(line))
        elif kind == "gap":
            self._printed("... some lines were left out ...")
