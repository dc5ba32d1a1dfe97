"""A corpus made from a seed, with exact labels."""
