"""The command ``edgesandbox``: ``check`` says what holds on this host, ``run`` runs a program confined."""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import NoReturn, TextIO

from edgesandbox import order, remedies, runner
from edgesandbox.client import Zygote
from edgesandbox.errors import SandboxUnavailable
from edgesandbox.report import Outcome, Report
from edgesandbox.spec import Limits

_USAGE = "edgesandbox run [options] -- PROGRAM [ARGUMENT ...]"
_ABOUT = """Run a program in a sandbox: its own file tree, processes and network, limits, and a report of what held.

It sees the system's programs and libraries, an empty /scratch, where it starts, and an empty /tmp; stdin, stdout and
stderr are carried through pipes.  SIZE is a number of bytes, or 64K, 512M, 2G; S is seconds."""
_EXIT_CODES = """exit codes:
  the program's own, where it ended by itself
  124   its time was up
  125   the sandbox could not be built, the program not started, or an option makes no sense
  130   cancelled: SIGINT, SIGTERM or SIGHUP to this command, or nobody reads its output
  137   another limit ended it (memory, processor time, disk, output)
  128+N signal N ended it

example:
  edgesandbox run --memory 512M --time 60 --ro ./model --json=report.json -- python3 -c 'print(2 + 2)'"""


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, and ends with the code of a sandbox that could not be built."""

    def error(self, message: str) -> NoReturn:
        self.exit(runner.EXIT_BROKEN, f"{self.prog}: {message}; see {self.prog} --help\n")


_TIER_C_HELP = "where there are no namespaces, be content with Landlock and a system call filter"


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line, up to ``--``."""
    defaults = Limits()
    main = _Parser(prog="edgesandbox", description="Run strangers' programs in a sandbox.", allow_abbrev=False)
    commands = main.add_subparsers(dest="command", required=True, metavar="check|run")
    about = "build one sandbox on this host, attack it and say what holds"
    check = commands.add_parser("check", help=about, description=f"{about[0].upper()}{about[1:]}.", allow_abbrev=False)
    check.add_argument("--json", action="store_true", help="print one JSON document")
    check.add_argument("--allow-tier-c", action="store_true", help=_TIER_C_HELP)
    run = commands.add_parser(
        "run",
        help="run a program confined",
        usage=_USAGE,
        description=_ABOUT,
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    for option, field, _parse, unit in order.LIMITS:
        default = _shown(getattr(defaults, field), unit)
        run.add_argument(f"--{option}", metavar=unit, help=f"{_LIMIT_HELP[option]}; default {default}")
    text = "make /scratch in this directory on disk, not in memory, for large outputs; a watchdog caps it"
    run.add_argument("--scratch-dir", metavar="DIR", help=text)
    run.add_argument("--net", default="none", metavar="none|host", help="network: its own loopback, or the host's")
    for option, what in (("ro", "read"), ("rw", "read and write")):
        text = f"let it {what} this file or directory, at the same place or at INSIDE; may be repeated"
        run.add_argument(f"--{option}", action="append", default=[], metavar="PATH[:INSIDE]", help=text)
    gpu = "give it this GPU, or GPU/GI/CI for an instance of one (MIG); may be repeated"
    run.add_argument("--gpu", action="append", default=[], metavar="UUID|INDEX", help=gpu)
    run.add_argument("--env", action="append", default=[], metavar="K=V", help="add to its environment")
    run.add_argument("--allow-tier-c", action="store_true", help=_TIER_C_HELP)
    run.add_argument("--chdir", metavar="DIR", help="where it starts; default /scratch")
    run.add_argument(
        "--json",
        nargs="?",
        const="2",
        metavar="FD|FILE",
        help="write the report as a JSON document to this descriptor or file (default stderr), not as a line to stderr",
    )
    return main


_LIMIT_HELP = {
    "memory": "memory of all its processes",
    "scratch": "what fits into /scratch",
    "tmp": "what fits into /tmp",
    "file": "size of one file; with --scratch, as large",
    "output": "stdout and stderr together",
    "pids": "processes and threads",
    "nofile": "open files of one process",
    "cpu": "processor time of all its processes",
    "time": "time from start to end",
}


def _shown(value: float, unit: str) -> str:
    if unit != "SIZE":
        return f"{value:g}"
    return f"{int(value) >> 30}G" if not value % (1 << 30) else f"{int(value) >> 20}M"


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns its exit code.

    ``check``: 0 it holds, 1 this host cannot confine jobs.  ``run``: as its help text says.  Usage: 125.
    """
    words = sys.argv[1:] if arguments is None else arguments
    end = words.index("--") if "--" in words else len(words)
    options = parser().parse_args(words[:end])
    if options.command == "check":
        return _check(options)
    return _run(options, words[end + 1 :])


def _run(options: argparse.Namespace, argv: list[str]) -> int:
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:  # no file of ours gets a number that means something
        pass
    os.close(fd)
    try:
        sink = _open_sink(options.json)
    except OSError as problem:
        print(f"edgesandbox: cannot write the report to {options.json}: {problem.strerror}", file=sys.stderr)
        return runner.EXIT_BROKEN
    with sink:
        try:
            wanted = order.read(vars(options), argv)
        except ValueError as problem:
            report = Report(outcome=Outcome.SETUP_FAILED, detail=str(problem))
        else:
            report = runner.run(wanted)
        text = runner.summary(report) if options.json is None else json.dumps(runner.document(report))
        try:
            print(text, file=sink, flush=True)
        except OSError as problem:
            print(f"edgesandbox: cannot write the report: {problem.strerror}", file=sys.stderr)
            return runner.EXIT_BROKEN
    return runner.exit_code(report)


def _open_sink(target: str | None) -> TextIO:
    """Open what the report is written to: a descriptor by its number, a file by its path; stderr by default."""
    target = target or "2"
    if not target.isdecimal():
        return open(target, "w", encoding="utf-8")
    return os.fdopen(os.dup(int(target)), "w", encoding="utf-8")


def _check(options: argparse.Namespace) -> int:
    zygote = Zygote(entry="edgesandbox.probe:main", tier_c="allow" if options.allow_tier_c else "refuse")
    problem = ""
    try:
        with zygote:
            pass
    except SandboxUnavailable as unavailable:
        problem = str(unavailable)
    host = remedies.look()
    advice = {name: remedies.remedy(name, why, host) for name, why in zygote.not_enforced.items()}
    if options.json:
        facts = {"tier": zygote.tier or None, "enforced": zygote.enforced, "not_enforced": zygote.not_enforced}
        facts["remedies"] = advice
        print(json.dumps({"schema": "edgesandbox.check/1", **facts, "problem": problem or None}))
    elif problem:
        print(problem, file=sys.stderr)
    else:
        print(f"tier {zygote.tier}")
        for name in zygote.enforced:
            print(f"  enforced      {name}")
        for name, reason in zygote.not_enforced.items():
            print(f"  not enforced  {name}: {reason}")
            print(f"                {advice[name]}")
    return 1 if problem else 0


if __name__ == "__main__":
    sys.exit(main())
