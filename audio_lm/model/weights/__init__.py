"""Weights on disk: formats, names, conversion, shards."""
