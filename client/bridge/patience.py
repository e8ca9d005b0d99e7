"""How long to wait before something is tried again. Pure."""

# The first pause, seconds: most losses are a program that is restarted. The longest: soon enough for somebody who
# watches, seldom enough to cost nothing.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0


def pause_s(failures: int) -> float:
    """The pause after so many failures in a row, seconds: each twice as long as the one before, up to a limit."""
    return min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(max(0, failures - 1), 32))
