"""What is measured on this project: ``nox -s bench -- NAME`` runs ``benchmarks/NAME.py`` (docs/benchmarks.md)."""
