"""What ``benchmarks.files`` sends files to, and by what."""
