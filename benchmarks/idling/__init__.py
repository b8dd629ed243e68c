"""Agents that wait for work, and what their process trees take: parts of ``benchmarks.node``."""
