"""Data pipeline: manifests of cuts, mixtures, packed batches."""
