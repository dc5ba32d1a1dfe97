"""Checkpoints on disk: folders that appear whole or not at all, and are believed only while their manifest holds."""
