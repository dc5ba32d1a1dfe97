"""Building blocks without dependencies inside the project: errors, units, files, secrets, packed batches."""
