"""Corpora that others published."""
