"""Train audio-language models from recipes."""
