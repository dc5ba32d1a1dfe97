"""Sessions of a run without training."""


def leave(session, error=None):
    """Leave the context of a session, with an error or without."""
    session.__exit__(type(error) if error else None, error, None)
