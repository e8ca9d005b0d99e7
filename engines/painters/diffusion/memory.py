"""What the painter wants to know again of a session's last keyframe: a few bytes, which go through the session."""

import json
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Memory:
    """The name under which the keyframe's attention is kept, None if it is not; and the tags that joined its prompt."""

    attention: bytes | None = None
    tags: tuple[str, ...] = ()

    def packed(self) -> bytes | None:
        """As bytes; None if there is nothing to remember."""
        if self.attention is None and not self.tags:
            return None
        attention = None if self.attention is None else self.attention.hex()
        return json.dumps({"attention": attention, "tags": self.tags}).encode()


def read(data: bytes | None) -> Memory:
    """The memory that was packed; an empty one for bytes that are none, as another painter's might be."""
    if data is None:
        return Memory()
    try:
        plain = json.loads(data)
        attention, tags = plain["attention"], tuple(str(each) for each in plain["tags"])
        return Memory(None if attention is None else bytes.fromhex(attention), tags)
    except (ValueError, TypeError, KeyError):
        return Memory()
