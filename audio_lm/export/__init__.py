"""Export models to formats that other programs load."""
