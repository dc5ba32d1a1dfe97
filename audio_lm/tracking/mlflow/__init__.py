"""Sending the event log to MLflow."""
