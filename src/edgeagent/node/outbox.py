"""What the node has to say on the link, in order of urgency: control, then results, then progress.

One per node, not per link: jobs go on while there is no link.  Control messages belong to the link they were said on
and are forgotten with it (the next Hello tells the gateway what they would have).  Progress is droppable: only the
newest of each attempt is kept, with a bounded number of log lines.
"""

from __future__ import annotations

from collections import deque

import attrs
import trio

from edgeagent.wire.messages import JobProgress, JobResult, Message

#: Most log lines in one message, and so most that wait for a slow link.
MAX_LOG_LINES = 100
#: Most control messages in one frame.
_MAX_BATCH = 50


class Outbox:
    """Filled by everybody, emptied by the session of the moment."""

    def __init__(self) -> None:
        self.opened = trio.Event()  # replaced at each loss of the link
        self.lost = trio.Event()  # replaced at each Welcome
        self._wake = trio.Event()
        self._control: deque[Message] = deque()
        self._results: deque[JobResult] = deque()
        self._progress: dict[str, JobProgress] = {}

    def open(self) -> None:
        """The gateway has said Welcome: what is said from now on goes out."""
        self.lost = trio.Event()
        self.opened.set()

    def close(self) -> None:
        """The link is over: nothing said to it is worth saying to the next.

        One that was lost before its Welcome was never open, and those who wait for that go on waiting.
        """
        if self.is_open:
            self.opened = trio.Event()
            self.lost.set()
        self._control.clear()
        self._results.clear()

    @property
    def is_open(self) -> bool:
        """Whether there is a link."""
        return self.opened.is_set()

    def say(self, message: Message) -> None:
        """Send this as soon as possible; without a link it is dropped."""
        if not self.is_open:
            return
        if isinstance(message, JobResult):
            self._results.append(message)
        else:
            self._control.append(message)
        self._wake.set()

    def progress(self, message: JobProgress) -> None:
        """Send this when there is nothing better to do; what an attempt said before is merged into it."""
        before = self._progress.get(message.attempt_id)
        if before is not None:
            message = attrs.evolve(
                message,
                fraction=before.fraction if message.fraction is None else message.fraction,
                text=message.text or before.text,
                log=(before.log + message.log)[-MAX_LOG_LINES:],
            )
        self._progress[message.attempt_id] = message
        self._wake.set()

    def forget(self, attempt_id: str) -> None:
        """The attempt's result has arrived: its progress is nobody's concern any more."""
        self._progress.pop(attempt_id, None)

    async def take(self) -> list[Message]:
        """Wait for something to say and return what goes into the next frame."""
        while True:
            if self._control:
                return [self._control.popleft() for _ in range(min(len(self._control), _MAX_BATCH))]
            if self._results:
                last_words = self._progress.pop(self._results[0].attempt_id, None)  # read by nobody after the result
                return [last_words or self._results.popleft()]
            if self._progress:
                return [self._progress.pop(next(iter(self._progress)))]
            self._wake = trio.Event()
            await self._wake.wait()
