"""Synthetic corpus: generated from a seed, with exact labels."""
