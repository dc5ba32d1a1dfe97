"""The schema of a recipe, and how recipes, pieces of conf/ and overrides are read into it."""
