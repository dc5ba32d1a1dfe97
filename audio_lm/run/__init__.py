"""A recipe carried out: trained, judged, written down."""
