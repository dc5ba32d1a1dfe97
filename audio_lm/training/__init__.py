"""Stages, freezing, losses."""
