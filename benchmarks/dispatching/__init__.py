"""The parts of ``benchmarks.dispatch``: simulated nodes, prepared gateways, and the peers on Redis."""
