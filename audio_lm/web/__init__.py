"""Chat page in a browser: questions about recorded and uploaded audio, answered by one model."""
