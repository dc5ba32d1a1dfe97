"""What a model can be asked to do with a clip."""
