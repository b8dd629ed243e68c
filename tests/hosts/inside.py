"""Runs on the other side, in the guest or the container: ``edgesandbox check``, then the sandbox's tests.

Says how it went in one line of JSON that starts with ``@@``; the side that started it believes only that line.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parents[2]
ENVIRONMENT = {
    "PYTHONPATH": f"{PROJECT}/sandbox:{PROJECT}/site",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
}
#: In the place of the project's own: no test here needs a plugin, and emulated, loading them takes half a minute.
CONFIGURATION = (
    f"--config-file={os.devnull}",
    f"--rootdir={PROJECT}",
    "-ra",
    "--strict-markers",
    "--override-ini=markers=needs(capability): the test needs something of the host",
    "--override-ini=filterwarnings=error",
)
#: Pure values are the same on every host; what a user without privilege gets, and tier C, are runs of their own here.
NOT_HERE = (
    "--ignore=tests/sandbox/test_sandbox_filter.py",
    "--ignore=tests/sandbox/test_sandbox_values.py",
    "--deselect=tests/sandbox/test_sandbox_user.py::test_an_ordinary_user_gets_the_same_sandbox",
    "--deselect=tests/sandbox/test_sandbox_tierc.py::test_the_abuse_list_holds_in_tier_c",
    "--deselect=tests/sandbox/test_sandbox_ids.py::"
    "test_an_ordinary_user_with_ids_of_his_own_has_more_than_the_same_sandbox",
)
#: Where tier C is all there is: what it promises.
TIER_C_CASES = "tests/sandbox/tier_c_cases.py"
#: What a host may lack: how the reasons begin for which tests may skip; any other is a failure.
MAY_LACK = (
    "only root",
    "the test changes users",
    "this host filters system calls itself",
    "Landlock keeps signals apart from version 6 on",
    "no C compiler",
    "this host's loopback has no IPv6 address",
    "setpriv is not installed",
    "newuidmap is not installed",
)


def main() -> int:
    """Check, test, and say so; returns 0 when all went well."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--name", required=True)
    parser.add_argument("--tier", choices=("A", "B", "C"), required=True, help="what is expected here")
    parser.add_argument("--enforced", action="append", default=[], metavar="NAME", help="a protection expected here")
    parser.add_argument("by", nargs="*", metavar="COMMAND", help="what to start each program with")
    asked = parser.parse_args()
    os.environ.update(ENVIRONMENT)
    os.environ.setdefault("EDGESANDBOX_TEST_JOBS", "50")
    os.chdir(PROJECT)
    print(f"---- {asked.name}: {os.uname().release}, Python {sys.version.split()[0]}", flush=True)
    started = time.monotonic()
    wrong, found = _check(asked.by, asked.tier, asked.enforced)
    if not wrong:
        wrong, counts = _test(asked.by, asked.tier)
        found |= counts
    facts = " ".join(f"{name}={value}" for name, value in found.items())
    text = f"{'FAILED: ' + wrong if wrong else 'ok'}  {facts}  {time.monotonic() - started:.0f} s"
    print("@@ " + json.dumps({"name": asked.name, "good": not wrong, "text": text}), flush=True)
    return 1 if wrong else 0


def _check(by: list[str], expected: str, enforced: list[str]) -> tuple[str, dict[str, Any]]:
    """Return what is wrong with this host's tier (or nothing), and the tier."""
    command = [*by, sys.executable, "-m", "edgesandbox", "check"]
    allowed = [*command, "--json", *(["--allow-tier-c"] if expected == "C" else [])]
    done = subprocess.run(allowed, stdout=subprocess.PIPE, check=False)
    facts = json.loads(done.stdout)
    found: dict[str, Any] = {"tier": facts["tier"]}
    for name, why in facts["not_enforced"].items():
        print(f"not enforced: {name}: {why}", flush=True)
    if facts["tier"] != expected:
        return f"tier {expected} was expected: {facts['problem'] or facts['not_enforced']}", found
    for name in enforced:
        if name not in facts["enforced"]:
            return f"{name} was expected: {facts['not_enforced'].get(name)}", found
    if done.returncode:
        return f"the check ended with exit code {done.returncode}", found
    if expected == "C":
        plain = subprocess.run(command, capture_output=True, text=True, check=False)
        print(plain.stdout + plain.stderr, flush=True)
        if plain.returncode != 1 or plain.stdout or len(plain.stderr.splitlines()) != 1:
            return "where tier C is not allowed, the answer is one line and exit code 1", found
    return "", found


def _test(by: list[str], tier: str) -> tuple[str, dict[str, Any]]:
    """Run pytest; return what is wrong (or nothing), and the counts."""
    arguments = json.loads((PROJECT / "arguments.json").read_text())
    with tempfile.TemporaryDirectory() as scratch:
        Path(scratch).chmod(0o777)
        options = ["-v", "--tb=short", "--durations=10", "-p", "no:cacheprovider", f"--junitxml={scratch}/xml"]
        command = [
            *by,
            sys.executable,
            "-m",
            "pytest",
            *CONFIGURATION,
            *options,
            *NOT_HERE,
            *([TIER_C_CASES] if tier == "C" else arguments or ["tests/sandbox"]),
        ]
        environment = os.environ | {"HYPOTHESIS_STORAGE_DIRECTORY": f"{scratch}/hypothesis"}
        code = subprocess.run(command, env=environment, check=False).returncode
        try:
            (suite,) = ET.parse(f"{scratch}/xml").getroot()
        except (OSError, ET.ParseError, ValueError) as problem:
            return f"pytest ended with {code} and left no result: {problem}", {}
    counts = {name: int(suite.attrib[name]) for name in ("tests", "skipped", "failures", "errors")}
    passed = counts.pop("tests") - sum(counts.values())
    found = {"passed": passed, **counts}
    if code:
        return f"pytest ended with exit code {code}", found
    reasons = {each.attrib["message"] for each in suite.iter("skipped")}
    unexpected = sorted(reason for reason in reasons if not reason.startswith(MAY_LACK))
    for reason in sorted(reasons):
        print(f"skipped: {reason}", flush=True)
    if unexpected:
        return f"a test skipped for a reason that is none here: {unexpected[0]}", found
    return ("" if passed else "no test ran"), found


if __name__ == "__main__":
    sys.exit(main())
