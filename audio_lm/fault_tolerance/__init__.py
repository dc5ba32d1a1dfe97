"""Fault tolerance of a run: preemption signals, dead and frozen ranks, restarts."""
