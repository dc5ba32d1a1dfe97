"""One command for a GPU that is there for some minutes: tests, speed beside Hugging Face's model, loader, a short run."""
