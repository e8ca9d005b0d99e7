"""What a file is that was to hold weights and does not, from its first bytes: names mislead."""

START = 512  # bytes that tell what a file is


def mishap(start: bytes) -> str | None:
    """What went wrong on the file's way here, going on from its name; None: nothing that shows."""
    if not start:
        return "is an empty file"
    if start.startswith(b"version https://git-lfs"):
        return "is a pointer of git-lfs, not the file itself: run `git lfs pull` where it was cloned"
    if start.lstrip().lower().startswith((b"<!doctype", b"<html")):
        return "is a web page that was saved under this name: download the file itself"
    return None
