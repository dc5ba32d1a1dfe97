"""Cut-sets on disk: manifest lines, compiled indexes, Shar, lazy cuts, labels."""
