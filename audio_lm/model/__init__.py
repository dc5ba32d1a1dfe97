"""Encoder, projector, language model."""
