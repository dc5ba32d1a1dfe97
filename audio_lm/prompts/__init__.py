"""How a task becomes words and token ids."""
