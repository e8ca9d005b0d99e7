"""FLV, made of RTMP's messages, whose contents are the same. Pure."""

import struct

# The beginning of a file that may have sound and picture. FFmpeg looks itself which of them come.
HEADER = b"FLV" + struct.pack(">BBII", 1, 4 | 1, 9, 0)


def tag(kind: int, at_ms: int, data: bytes) -> bytes:
    """A message as a tag, and the length of that. data: shorter than 2**24 bytes."""
    length = len(data).to_bytes(3)
    at = (at_ms & 0xFFFFFF).to_bytes(3) + bytes([at_ms >> 24])
    head = bytes([kind]) + length + at + b"\0\0\0"
    return head + data + struct.pack(">I", len(head) + len(data))
