"""Which of the discovered plugins this host can run.

The answer needs each plugin's own code: whether its module imports, and what its ``unavailable()`` says.  That code
runs in a short-lived process without the agent's secrets, never in the agent: it may be slow, large, start threads,
print, or end the process.  The node asks once, when it starts.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping

import attrs

from edgeagent.plugins.channel import one_line
from edgeagent.plugins.loading import PluginError, load

#: Seconds that loading all plugins may take; a first import of a large library from a cold disk needs several.
TIMEOUT_S = 60.0
#: What of the environment a plugin's module gets to see; no secret is ever in these.
_KEPT = ("HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH", "PYTHONPATH", "TMPDIR", "VIRTUAL_ENV")


@attrs.frozen
class Offer:
    """What this host can run, and one line for each job type that it cannot."""

    job_types: tuple[str, ...]
    reasons: Mapping[str, str]


def available(plugins: Mapping[str, str], *, timeout_s: float = TIMEOUT_S) -> Offer:
    """Load each plugin in a process of its own and ask it.  Blocking, about 0.1 s.

    Args:
        plugins: ``Discovered.plugins``.
        timeout_s: seconds for one plugin after the one before it has answered; a plugin that hangs is not available.
    """
    reasons: dict[str, str | None] = {}
    while waiting := {job_type: spec for job_type, spec in plugins.items() if job_type not in reasons}:
        answers, ending = _ask(waiting, timeout_s)
        reasons.update(answers)
        silent = next((job_type for job_type in waiting if job_type not in reasons), None)
        if silent is not None:  # its module took the process with it; the others get another one
            reasons[silent] = f"{waiting[silent]} {ending} while it was loaded"
    return Offer(
        tuple(job_type for job_type in plugins if reasons[job_type] is None),
        {job_type: reason for job_type in plugins if (reason := reasons[job_type]) is not None},
    )


def _ask(plugins: Mapping[str, str], timeout_s: float) -> tuple[dict[str, str | None], str]:
    try:
        ended = subprocess.run(
            [sys.executable, "-P", "-m", "edgeagent.plugins.probe"],
            input=json.dumps(dict(plugins)).encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=timeout_s,
            check=False,
            cwd="/",
            env={name: os.environ[name] for name in _KEPT if name in os.environ},
        )
        output, ending = ended.stdout, f"ended the process (status {ended.returncode})"
    except subprocess.TimeoutExpired as late:
        output, ending = late.stdout or b"", f"did not finish in {timeout_s:g} s"
    return {job_type: reason for job_type, reason in map(_parse, output.splitlines()) if job_type in plugins}, ending


def _parse(line: bytes) -> tuple[str, str | None]:
    try:
        job_type, reason = json.loads(line)
    except ValueError:
        return "", None
    return str(job_type), None if reason is None else one_line(str(reason))


def _reason(job_type: str, spec: str) -> str | None:
    try:
        return load(job_type, spec).unavailable()
    except PluginError as error:
        return str(error)
    except Exception as error:  # the plugin's own code
        return f"{spec}: unavailable() raised {type(error).__name__}: {error}"


def _main() -> None:
    # What modules print while they are imported must not mix with the answers.
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)
        for job_type, spec in json.load(sys.stdin).items():
            print(json.dumps([job_type, _reason(job_type, spec)]), file=answers, flush=True)
    os._exit(0)  # threads that a module has started are not waited for


if __name__ == "__main__":
    _main()
