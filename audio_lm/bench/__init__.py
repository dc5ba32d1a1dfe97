"""Benchmarks of speed and memory; every figure is measured by the call that returns it."""
