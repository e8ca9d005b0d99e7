"""What ffmpeg's zmq writer makes of frames, made whole again. Pure.

With `-flush_packets 1` a message is a frame, unless that is longer than the packet size: then it is several pieces, all
of them full but the last.
"""

# The packet size of ffmpeg's zmq protocol, where `-pkt_size` does not say another one, bytes.
FULL_PIECE = 131_072
# A frame that is longer than this is none, bytes: the largest picture of the wire has less, raw.
LONGEST_FRAME = 256 * 2**20


class Pieces:
    """Joins messages to frames: of coded pictures, or of raw ones of `frame_bytes` each."""

    def __init__(self, frame_bytes: int | None = None) -> None:
        self.damaged = 0  # frames that were not whole
        self._frame_bytes = frame_bytes
        self._parts: list[bytes] = []
        self._length = 0

    def push(self, message: bytes) -> bytes | None:
        """The frame that ends with this message; None: it goes on, or was not whole."""
        self._parts.append(message)
        self._length += len(message)
        if self._length > LONGEST_FRAME:
            self.damaged += 1
            self._take()
            return None
        if len(message) == FULL_PIECE and self._length != self._frame_bytes:
            return None
        frame = self._take()
        if self._frame_bytes is not None and len(frame) != self._frame_bytes:
            self.damaged += 1
            return None
        return frame

    def _take(self) -> bytes:
        frame = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts, self._length = [], 0
        return frame
