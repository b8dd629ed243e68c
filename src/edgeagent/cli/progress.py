"""Jobs as they move: live bars on a terminal, one plain line per change elsewhere.  Everything goes to stderr."""

from __future__ import annotations

from typing import Any, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

#: On a plain log, progress is worth a line every this much of the whole.
_PLAIN_STEP = 0.25


class Follower:
    """Shows any number of jobs; call ``update`` with a job each time it has changed."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._live = self._console.is_terminal
        self._bars = Progress(
            TextColumn("{task.fields[job_type]:<14}"),
            BarColumn(),
            TextColumn("{task.fields[status]:<10}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[text]}"),
            console=self._console,
        )
        self._tasks: dict[str, Any] = {}
        self._said: dict[str, tuple[str, float]] = {}

    def __enter__(self) -> Self:
        if self._live:
            self._bars.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Leave the bars as they are: what is printed from now on comes below them."""
        self._bars.stop()

    def say(self, line: str) -> None:
        """Show one line, above the bars where there are any."""
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def update(self, job: dict[str, Any]) -> None:
        """Show a job as it is now."""
        status, progress = job["status"], job["progress"]
        fraction = 1.0 if status == "COMPLETED" else progress["fraction"] or 0.0
        text = job["error"] or progress["text"]
        if self._live:
            self._bar(job, status, fraction, text)
        else:
            self._line(job, status, fraction, text)

    def _bar(self, job: dict[str, Any], status: str, fraction: float, text: str) -> None:
        fields: dict[str, Any] = {"job_type": escape(job["job_type"]), "status": status, "text": escape(text)}
        if job["job_id"] not in self._tasks:
            self._tasks[job["job_id"]] = self._bars.add_task("", total=1.0, **fields)
        task = self._tasks[job["job_id"]]
        self._bars.update(task, completed=fraction, **fields)
        if status in ("COMPLETED", "FAILED", "CANCELLED"):
            self._bars.stop_task(task)

    def _line(self, job: dict[str, Any], status: str, fraction: float, text: str) -> None:
        said_status, said_fraction = self._said.get(job["job_id"], ("", 0.0))
        if status == said_status and fraction < said_fraction + _PLAIN_STEP:
            return
        self._said[job["job_id"]] = (status, fraction)
        self.say(f"{job['job_type']:<14} {status:<10} {fraction:4.0%} {text}".rstrip())
