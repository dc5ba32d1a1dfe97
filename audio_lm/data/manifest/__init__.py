"""Cut-sets on disk: lines, indexes, Shar, cuts read lazily, faults of audio."""
