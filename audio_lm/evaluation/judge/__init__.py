"""Scores of open answers by another model, the judge."""
