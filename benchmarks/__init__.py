"""How fast the service is, next to the same work written by hand: `python -m benchmarks`."""
