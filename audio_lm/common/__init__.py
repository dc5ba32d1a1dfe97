"""Building blocks that import nothing else of the project: errors, units, files, random numbers, packed batches."""
