"""Recipe schema, and the loader that merges recipes, pieces of conf/ and overrides."""
