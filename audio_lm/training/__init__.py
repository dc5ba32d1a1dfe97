"""Training steps, losses, optimizers, distributed strategies and callbacks."""
