"""The command ``edgesandbox``: ``check`` says what holds on this host, ``run`` runs a program confined."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from edgesandbox import runner
from edgesandbox.client import Zygote
from edgesandbox.errors import SandboxUnavailable
from edgesandbox.spec import Limits

_SIZES = {"memory": "memory_bytes", "scratch": "scratch_bytes", "tmp": "tmp_bytes", "output": "output_bytes"}
_NUMBERS = {"pids": "pids", "nofile": "nofile"}
_SECONDS = {"cpu": "cpu_s", "time": "wall_s"}


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    defaults = Limits()
    main = argparse.ArgumentParser(prog="edgesandbox", description="Run strangers' programs in a sandbox.")
    commands = main.add_subparsers(dest="command", required=True)
    check = commands.add_parser("check", help="build one sandbox on this host, attack it and say what holds")
    check.add_argument("--json", action="store_true", help="print one JSON document")
    run = commands.add_parser("run", help="run a program confined", description=runner.__doc__)
    for names, kind, metavar in ((_SIZES, runner.parse_size, "SIZE"), (_NUMBERS, int, "N"), (_SECONDS, float, "S")):
        for option, field in names.items():
            value = getattr(defaults, field)
            run.add_argument(
                f"--{option}", type=kind, metavar=metavar, dest=field, default=value, help=f"default {value}"
            )
    run.add_argument("--ro", action="append", default=[], metavar="PATH", help="let the program read this, too")
    run.add_argument("--env", action="append", default=[], metavar="K=V", help="add to its environment")
    run.add_argument("--json", action="store_true", help="print the report as one JSON document")
    run.add_argument("--report", type=Path, metavar="FILE", help="where the report goes; default stderr")
    run.add_argument("argv", nargs="+", metavar="ARGV", help="after --: the program and its arguments")
    return main


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns its exit code.

    ``check``: 0 it holds, 1 this host cannot confine jobs.  ``run``: see ``runner``.  Both: 2 usage.
    """
    options = parser().parse_args(arguments)
    return _check(as_json=options.json) if options.command == "check" else _run(options)


def _run(options: argparse.Namespace) -> int:
    fields = (*_SIZES.values(), *_NUMBERS.values(), *_SECONDS.values())
    try:
        limits = Limits(**{field: getattr(options, field) for field in fields})
    except ValueError as problem:
        print(f"edgesandbox: {problem}", file=sys.stderr)
        return 2
    env = dict(each.partition("=")[::2] for each in options.env)
    report = runner.run(runner.Order(argv=options.argv, limits=limits, read_only=options.ro, env=env))
    text = json.dumps(runner.document(report)) if options.json else runner.summary(report)
    if options.report:
        options.report.write_text(text + "\n")
    else:
        print(text, file=sys.stderr)
    return runner.exit_code(report)


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
