"""Fuzz one target for some minutes, guided by coverage: ``python -m tests.fuzz TARGET --minutes N``.

Needs atheris, which ``nox -s fuzz -- TARGET --minutes N`` installs.  Ends with 0 when nothing was found; else the bytes
that did it are in a file that the last lines name.  What was learnt is kept in .fuzz/TARGET for the next time.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def main() -> None:
    """Instrument the code, and hand over to libFuzzer, which ends the process."""
    import atheris

    with atheris.instrument_imports(include=["edgesandbox", "edgeagent.plugins"]):
        from tests.fuzz.fuzz_targets import TARGETS
        from tests.fuzz.seeds import SEEDS

    parser = argparse.ArgumentParser(prog="nox -s fuzz --", description="Fuzz one target, guided by coverage.")
    parser.add_argument("target", choices=sorted(TARGETS))
    parser.add_argument("--minutes", type=float, default=2.0, help="how long (default: 2)")
    asked = parser.parse_args()
    corpus = Path(".fuzz", asked.target)
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(SEEDS[asked.target]):
        (corpus / f"seed{number}").write_bytes(seed)
    options = [
        f"-max_total_time={max(1, round(asked.minutes * 60))}",
        "-max_len=20000",
        "-rss_limit_mb=1024",
        "-timeout=10",
        f"-artifact_prefix=.fuzz/{asked.target}-",
    ]
    target = TARGETS[asked.target]

    def run(data: bytes) -> None:
        target(data)  # libFuzzer wants no answer

    atheris.Setup([sys.argv[0], *options, str(corpus)], run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
