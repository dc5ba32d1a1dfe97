"""Sampling weights of tasks, and the schedule of packs that follows from them."""
