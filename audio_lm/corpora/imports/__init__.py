"""Import of other projects' data files as cut-sets."""
