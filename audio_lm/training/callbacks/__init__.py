"""Lightning callbacks of a stage."""
