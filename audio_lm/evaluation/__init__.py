"""Benchmarks, predictions, scores."""
