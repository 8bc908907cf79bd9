"""The base pipeline: request, run, the one loop, result."""
