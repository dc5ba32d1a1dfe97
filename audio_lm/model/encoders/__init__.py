"""Audio encoders and their input."""
