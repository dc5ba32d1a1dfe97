"""The language model and what it needs to train and generate."""
