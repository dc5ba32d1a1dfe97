"""Files of predictions by other systems: recognition by content, official and clean scores."""
