"""What ends a connection. Pure."""


class Unintelligible(Exception):
    """What came is no RTMP that is read here. The text is the end of a sentence about who sent it.

    It has nothing in it that was sent, so that there are few of them, and a log is not filled.
    """
