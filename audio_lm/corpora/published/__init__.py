"""Published corpora, read in their publishers' layouts."""
