"""What ``benchmarks.ledger`` is made of."""
