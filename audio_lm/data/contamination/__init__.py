"""Search for clips of a benchmark that are in the training data: equal audio, equal or overlapping texts, the same speakers."""
