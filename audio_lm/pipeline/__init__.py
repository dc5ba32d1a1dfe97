"""Builds objects from recipes: vocabulary, model, data, trainer. Lower packages take plain arguments."""
