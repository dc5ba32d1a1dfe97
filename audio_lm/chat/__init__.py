"""Conversations with a model, in the terminal and through a Python interface; words found in a clip, and edited clips."""
