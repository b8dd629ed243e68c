"""What ``benchmarks/sandbox.py`` starts: our sandbox and its peers, each behind the same few calls."""
