"""Fixtures of stages that are stopped and resumed."""

from tests.training.callbacks.stopped_stage import fit, packs

__all__ = ["fit", "packs"]
