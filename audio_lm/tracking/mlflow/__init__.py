"""Sync of the event log to MLflow."""
