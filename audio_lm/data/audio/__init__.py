"""Audio files: decoded, measured, guarded against what is broken."""
