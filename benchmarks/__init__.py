"""Compare the speed of the service with a hand-written reference: `python -m benchmarks`."""
