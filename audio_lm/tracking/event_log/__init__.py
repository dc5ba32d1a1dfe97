"""The record of a run in its own folder."""
