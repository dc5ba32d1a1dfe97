"""Event log of a run in its own folder."""
