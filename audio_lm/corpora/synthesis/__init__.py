"""Dialogues and preference pairs from the labels of any cut-sets, by templates or by a language model."""
