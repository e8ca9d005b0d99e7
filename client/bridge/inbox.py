"""What a bridge's reading thread hands to the one that paints: bounded, the newest pictures, with a word to wake it."""

import os
import threading
from collections import deque

from .parts import Picture, Sound, Tracks

# Pictures that wait, at most: one is sent while one comes; a third is for a scheduler that is late.
PICTURES = 3
# Packets of sound that wait, at most: seconds of it, and the one who takes them never waits for long.
SOUNDS = 1_000

Item = Picture | Sound | Tracks


class Inbox:
    """Owner of what was read and not yet taken. `fileno` is readable while there is something."""

    def __init__(self) -> None:
        self.received = 0  # pictures
        self.dropped = 0  # pictures, as newer ones came
        self.sounds_dropped = 0  # packets, as too many waited
        self.over = False  # nothing more will come
        self._items: deque[Item] = deque()
        self._pictures = 0
        self._sentences: deque[str] = deque(maxlen=SOUNDS)
        self._lock = threading.Lock()
        self._readable, self._writable = os.pipe()
        os.set_blocking(self._writable, False)
        os.set_blocking(self._readable, False)

    def fileno(self) -> int:
        """What to poll."""
        return self._readable

    def put(self, item: Item) -> None:
        """Adds something; of too much, the oldest of its kind goes."""
        with self._lock:
            self._items.append(item)
            if isinstance(item, Picture):
                self.received += 1
                self._pictures += 1
                if self._pictures > PICTURES:
                    self._drop_oldest(Picture)
                    self._pictures -= 1
                    self.dropped += 1
            elif len(self._items) > SOUNDS:
                self._drop_oldest(Sound)
                self.sounds_dropped += 1
        self._wake()

    def say(self, sentence: str) -> None:
        """Adds a sentence for the user."""
        with self._lock:
            self._sentences.append(sentence)
        self._wake()

    def end(self) -> None:
        """Says that nothing more will come."""
        self.over = True
        self._wake()

    def take(self) -> tuple[list[Item], list[str]]:
        """All that is there: items in order, and sentences."""
        with self._lock:
            items, sentences = list(self._items), list(self._sentences)
            self._items.clear()
            self._sentences.clear()
            self._pictures = 0
            try:
                while os.read(self._readable, 4096):
                    pass
            except BlockingIOError:
                pass
        return items, sentences

    def close(self) -> None:
        """Lets go of the pipe. Whoever still writes is not heard."""
        with self._lock:
            os.close(self._readable)
            os.close(self._writable)
            self._writable = -1

    def _drop_oldest(self, kind: type[Item]) -> None:
        oldest = next((each for each in self._items if isinstance(each, kind)), None)
        if oldest is not None:
            self._items.remove(oldest)

    def _wake(self) -> None:
        with self._lock:
            if self._writable < 0:
                return
            try:
                os.write(self._writable, b"\0")
            except BlockingIOError:  # full: somebody is to be woken already
                return
