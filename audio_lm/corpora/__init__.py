"""Corpora of audio clips: synthetic, published and imported."""
