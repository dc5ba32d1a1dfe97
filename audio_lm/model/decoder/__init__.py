"""The language model: packed attention, loss, new tokens and generation."""
