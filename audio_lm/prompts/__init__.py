"""Prompts: a task and its labels rendered as text, and tokenized."""
