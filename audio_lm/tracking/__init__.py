"""Tracking of runs: event log, MLflow sync, reports. The only package that imports MLflow."""
