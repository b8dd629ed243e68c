"""``python -m benchmarks NAME``: what ``nox -s bench`` runs."""

from __future__ import annotations

import sys

from benchmarks.harness import main

sys.exit(main())
