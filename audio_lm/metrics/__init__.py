"""Metrics of generated answers."""
