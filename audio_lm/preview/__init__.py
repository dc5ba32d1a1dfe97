"""Previews of a recipe before training: ``audio-lm plan`` and ``audio-lm describe``."""
