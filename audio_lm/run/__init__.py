"""Execution of a recipe: training, evaluation, and the run folder."""
