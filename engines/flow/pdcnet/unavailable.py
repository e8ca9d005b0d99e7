"""What cannot be used on this machine."""


class UnavailableError(ValueError):
    """A runtime, a part of it, or a GPU that it can use is missing. The text says what, and what to install."""
