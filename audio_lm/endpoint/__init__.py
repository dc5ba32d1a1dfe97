"""OpenAI-compatible endpoint: `transformers serve` on an exported folder, behind checks of every request."""
