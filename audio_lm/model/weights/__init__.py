"""Weights on disk: file formats, names, conversion, shards."""
