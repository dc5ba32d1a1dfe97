"""Decode, measure and check audio files."""
