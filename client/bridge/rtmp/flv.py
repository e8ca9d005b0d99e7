"""FLV, made of RTMP's messages, whose contents are the same. Pure."""

import struct

SOUND, PICTURE = 4, 1  # what a file is said to hold, as flags


def header(flags: int) -> bytes:
    """The beginning of a file."""
    return b"FLV" + struct.pack(">BBII", 1, flags, 9, 0)


def tag(kind: int, at_ms: int, data: bytes) -> bytes:
    """A message as a tag, and the length of that. data: shorter than 2**24 bytes."""
    length = len(data).to_bytes(3)
    at = (at_ms & 0xFFFFFF).to_bytes(3) + bytes([at_ms >> 24])
    head = bytes([kind]) + length + at + b"\0\0\0"
    return head + data + struct.pack(">I", len(head) + len(data))
