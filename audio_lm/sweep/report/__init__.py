"""Report of a sweep: pictures, an interactive page, tables, sentences and the best mixture as a file."""
