"""Where a run is written down; the only home of MLflow."""
