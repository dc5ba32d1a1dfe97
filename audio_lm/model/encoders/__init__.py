"""Audio encoders and their input features."""
