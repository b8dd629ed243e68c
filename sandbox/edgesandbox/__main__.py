"""``edgesandbox check``: builds one sandbox on this host and says what holds."""

from __future__ import annotations

import argparse
import json
import sys

from edgesandbox import SandboxUnavailable, Zygote


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns its exit code: 0 it holds, 1 this host cannot confine jobs, 2 usage."""
    parser = argparse.ArgumentParser(prog="edgesandbox", description="Run strangers' jobs in a sandbox.")
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser("check", help="build one sandbox on this host and say what holds")
    check.add_argument("--json", action="store_true", help="print one JSON document")
    return _check(as_json=parser.parse_args(arguments).json)


def _check(*, as_json: bool) -> int:
    zygote = Zygote(entry="edgesandbox.probe:main")
    problem = ""
    try:
        with zygote:
            pass
    except SandboxUnavailable as unavailable:
        problem = str(unavailable)
    if as_json:
        facts = {"tier": zygote.tier or None, "enforced": zygote.enforced, "not_enforced": zygote.not_enforced}
        print(json.dumps({"schema": "edgesandbox.check/1", **facts, "problem": problem or None}))
    elif problem:
        print(problem, file=sys.stderr)
    else:
        print(f"tier {zygote.tier}")
        for name in zygote.enforced:
            print(f"  enforced      {name}")
        for name, reason in zygote.not_enforced.items():
            print(f"  not enforced  {name}: {reason}")
    return 1 if problem else 0


if __name__ == "__main__":
    sys.exit(main())
