"""The rail that is a person: writes a file of instructions, and waits for ``payouts confirm``.

The file of a batch has always the same name, and is whole or not there; so a run that was killed and repeated leaves
one file, and nobody is paid from two.
"""

from __future__ import annotations

import csv
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TextIO

from edgeagent.errors import EdgeAgentError
from edgeagent.gateway.payouts import State
from edgeagent.gateway.rails import Batch, Outcome, RailSettings
from edgeagent.gateway.texts import one_line
from edgeagent.wire.units import format_credits

#: Where the files are, in the gateway's directory.
FOLDER = "payouts"
#: What a spreadsheet takes for the beginning of a formula, by OWASP's list.
_FORMULA = ("=", "+", "-", "@")
_HEADINGS = ("payment", "node", "name", "address", "credits")


class ManualRail:
    """Writes what is to be paid, for a person or a bank's upload form."""

    def __init__(self, settings: RailSettings) -> None:
        self._settings = settings

    def instruct(self, batch: Batch) -> Iterable[Outcome]:
        """Write the file; every payment's reference is its path until it is confirmed.

        Raises:
            EdgeAgentError: the file cannot be written, or the one that the owner named is there already.
        """
        path = self._path(batch)
        try:
            if self._settings.output is None:
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write(path, batch)
        except OSError as error:
            raise EdgeAgentError(f"cannot write {path}: {error.strerror}") from None
        return [
            Outcome(payment_id=one.payment_id, state=State.INSTRUCTED, reference=str(path)) for one in batch.payments
        ]

    def _path(self, batch: Batch) -> Path:
        output = self._settings.output
        if output is not None:
            if output.exists():
                raise EdgeAgentError(f"{output} exists; name another file")
            return output.absolute()
        suffix = "" if batch.number == 1 else f"-{batch.number}"
        return self._settings.data_dir.absolute() / FOLDER / f"{batch.month}{suffix}.csv"


def cell(text: str) -> str:
    """Return a stranger's text as a cell that no spreadsheet computes."""
    line = one_line(text)
    return f"'{line}" if line.startswith(_FORMULA) else line


def _write(path: Path, batch: Batch) -> None:
    # mkstemp's file is its owner's alone, and stays so: it tells where everybody banks.
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            _rows(file, batch)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)  # the file must not be gone after a crash that the database remembers it through
    finally:
        os.close(folder)


def _rows(file: TextIO, batch: Batch) -> None:
    table = csv.writer(file, quoting=csv.QUOTE_ALL)
    table.writerow(_HEADINGS)
    for one in batch.payments:
        amount = format_credits(one.amount_ucr)
        table.writerow([one.payment_id, one.node_id, cell(one.name), cell(one.address), amount])
