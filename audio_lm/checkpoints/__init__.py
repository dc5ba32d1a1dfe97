"""Checkpoints on disk: folders that are complete or absent, and valid only with their manifest."""
