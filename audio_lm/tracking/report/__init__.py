"""Reports and figures that are logged as artifacts."""
