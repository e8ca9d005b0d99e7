"""What ends a connection. Pure."""


class Unintelligible(Exception):
    """What came is no RTMP that is read here. The text is the end of a sentence about who sent it."""
