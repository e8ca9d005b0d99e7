"""AMF0, the values of RTMP's commands: read within bounds, and written. Pure."""

import struct
from collections.abc import Mapping, Sequence

from .errors import Unintelligible

# An object in an object in a list is more than any command has.
DEEPEST = 8
# Values of one message, at most. What a publisher says of its stream is some twenty.
MOST_VALUES = 512

NUMBER, BOOLEAN, STRING, OBJECT, NULL, UNDEFINED = 0, 1, 2, 3, 5, 6
MAPPING, END, LIST, DATE, LONG_STRING, UNSUPPORTED, XML, TYPED_OBJECT = 8, 9, 10, 11, 12, 13, 15, 16

# A date is a number, an object a dict by name; what has no value is None.
Value = float | bool | str | None | dict[str, "Value"] | list["Value"]
Written = float | bool | str | None | Mapping[str, "Written"]


def values(data: bytes, most: int = MOST_VALUES) -> list[Value]:
    """The values of a message; no more than the first `most`. Raises Unintelligible."""
    reader = _Reader(data)
    found: list[Value] = []
    while reader.at < len(data) and len(found) < most:
        found.append(reader.value(DEEPEST))
    return found


def written(items: Sequence[Written]) -> bytes:
    """Values as bytes. Texts are shorter than 65536 bytes."""
    return b"".join(map(_one, items))


def _one(value: Written) -> bytes:
    if value is None:
        return bytes([NULL])
    if isinstance(value, bool):
        return bytes([BOOLEAN, value])
    if isinstance(value, int | float):
        return struct.pack(">Bd", NUMBER, value)
    if isinstance(value, str):
        return bytes([STRING]) + _name(value)
    items = b"".join(_name(name) + _one(each) for name, each in value.items())
    return bytes([OBJECT]) + items + b"\0\0" + bytes([END])


def _name(text: str) -> bytes:
    data = text.encode()
    return struct.pack(">H", len(data)) + data


class _Reader:
    """Where one is in a message, and how many values it has had."""

    def __init__(self, data: bytes) -> None:
        self.at = 0
        self._data = data
        self._count = 0

    def value(self, depth: int) -> Value:
        """The next value, which may go so deep. Raises Unintelligible."""
        self._count += 1
        if self._count > MOST_VALUES or depth < 0:
            raise Unintelligible("sent a command with too many values")
        kind = self._take(1)[0]
        if kind == NUMBER:
            return self._number()
        if kind == BOOLEAN:
            return self._take(1) != b"\0"
        if kind == STRING:
            return self._text(">H")
        if kind in (LONG_STRING, XML):
            return self._text(">I")
        if kind in (NULL, UNDEFINED, UNSUPPORTED):
            return None
        return self._compound(kind, depth)

    def _compound(self, kind: int, depth: int) -> Value:
        if kind == DATE:
            number = self._number()
            self._take(2)  # a time zone, which means nothing
            return number
        if kind == LIST:
            return [self.value(depth - 1) for _ in range(self._integer(">I"))]
        if kind == MAPPING:
            self._integer(">I")  # how many, as the writer guessed
        elif kind == TYPED_OBJECT:
            self._text(">H")
        elif kind != OBJECT:
            raise Unintelligible("sent a value of a type that is not read here")
        return self._items(depth)

    def _items(self, depth: int) -> dict[str, Value]:
        found: dict[str, Value] = {}
        while True:
            name = self._text(">H")
            if not name and self._data[self.at : self.at + 1] == bytes([END]):
                self.at += 1
                return found
            found[name] = self.value(depth - 1)

    def _text(self, length: str) -> str:
        try:
            return self._take(self._integer(length)).decode()
        except UnicodeDecodeError:
            raise Unintelligible("sent a text that is no UTF-8") from None

    def _number(self) -> float:
        (number,) = struct.unpack(">d", self._take(8))
        return float(number)

    def _integer(self, form: str) -> int:
        (number,) = struct.unpack(form, self._take(struct.calcsize(form)))
        return int(number)

    def _take(self, length: int) -> bytes:
        data = self._data[self.at : self.at + length]
        if len(data) < length:
            raise Unintelligible("sent a command that is cut off")
        self.at += length
        return data
