"""A plugin to start from, and its test.  Pure; ``edgeagent plugins new`` writes both."""

from __future__ import annotations

import re

NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")

_PLUGIN = '''"""The plugin ``{name}``: counts the words of a text.  docs/plugins.md says what else a plugin may do."""

from __future__ import annotations

import uuid
from typing import Any

from edgeagent.plugins import BaseWorkerPlugin, RejectJob, WorkerResult, current_job


class {cls}(BaseWorkerPlugin):
    """Counts words."""

    job_type = "{name}"

    @classmethod
    def unavailable(cls) -> str | None:
        """Say what this machine lacks for it, if anything."""
        return None

    async def execute(self, job_id: uuid.UUID, payload: dict[str, Any]) -> WorkerResult:
        """Return {{"words": how many there are in "text"}}."""
        text = payload.get("text")
        if not isinstance(text, str):
            raise RejectJob(f"text is a text, not {{text!r}}")
        words = text.split()
        current_job().progress(1.0, "counted")
        return WorkerResult(success=True, value={{"words": len(words)}})
'''

_TEST = '''"""Tests of the plugin ``{name}``: python -m pytest {file}"""

from __future__ import annotations

import sys
import uuid
from pathlib import Path

import pytest
import trio

sys.path.insert(0, str(Path(__file__).parent))

from {name} import {cls}

from edgeagent.plugins import RejectJob
from edgeagent.plugins.base import JobContext, enter_job


@pytest.fixture
def run(tmp_path):
    """Execute a payload as the node would, but here; files go into ``tmp_path``."""

    def execute(payload):
        job_id = uuid.uuid4()
        enter_job(JobContext(job_id, tmp_path, lambda fraction, text: None))
        return trio.run({cls}().execute, job_id, payload)

    return execute


def test_words_are_counted(run):
    """However many spaces there are between them."""
    assert {{"words": 3}} == run({{"text": " one two  three"}}).value


def test_a_payload_that_can_never_work_is_rejected(run):
    """So that no other node tries it."""
    with pytest.raises(RejectJob, match="text is a text"):
        run({{"text": 5}})
'''


def plugin(name: str) -> str:
    """Return a plugin's source; ``name`` matches ``NAME``."""
    return _PLUGIN.format(name=name, cls=_class(name))


def test(name: str) -> str:
    """Return the source of its test, for a file ``_test_NAME.py`` beside it: the node passes over such names."""
    return _TEST.format(name=name, cls=_class(name), file=f"_test_{name}.py")


def _class(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_")) + "Plugin"
