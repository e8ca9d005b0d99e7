"""The preview page in a real browser, Debian's Chromium, and a film for it to show."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray
from playwright.sync_api import Browser, Page, Request, ViewportSize, sync_playwright

from support.page import page
from support.programs import program
from warpaint.client.painting import Client

CHROMIUM = "chromium"
INSTALL = "apt-get install chromium"
# No GPU and no camera are there, and nobody to click that the camera may be used.
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
    *("--use-fake-device-for-media-stream=fps=10", "--use-fake-ui-for-media-stream"),
)
STARTED_WITHIN_S = 30.0
# Whatever is waited for on the page has come within this, on a machine that is busy.
COMES_WITHIN_S = 20.0
LOOK_EVERY_MS = 50.0
USUAL_SIZE = (1024, 640)

# What a page that keeps to its policy never tells.
LISTENS = """
window.violations = [];
document.addEventListener('securitypolicyviolation', (event) => {
  window.violations.push(`${event.violatedDirective}: ${event.blockedURI}`);
});
"""
# The picture in a box of the canvas, made small, with the header of the frame that it is.
READS = """([x, y, width, height, columns, rows]) => {
  const small = new OffscreenCanvas(columns, rows).getContext('2d');
  small.imageSmoothingQuality = 'high';
  small.drawImage(document.getElementById('picture'), x, y, width, height, 0, 0, columns, rows);
  return { header: warpaint.last, pixels: Array.from(small.getImageData(0, 0, columns, rows).data) };
}"""

Image = NDArray[np.uint8]


@contextmanager
def browser() -> Iterator[Browser]:
    """A Chromium without a window. Without one that is installed the test is skipped."""
    path = program(CHROMIUM, INSTALL)
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        try:
            running.new_context()
            yield running
        finally:
            running.close()


@contextmanager
def page_server(daemon: str, folder: Path) -> Iterator[str]:
    """The URL of a `warpaint page` in front of the daemon at this address."""
    with page(folder, daemon) as served:
        yield served.url


@dataclass
class Shown:
    """A page that is open, and what its browser complained of."""

    page: Page
    complaints: list[str] = field(default_factory=list)

    def wait(self, condition: str, *, within_s: float = COMES_WITHIN_S) -> None:
        """Waits until this JavaScript is true. Playwright's own way of it would be `eval`, which the page forbids."""
        deadline = time.monotonic() + within_s
        while not self.page.evaluate(f"Boolean({condition})"):
            if time.monotonic() > deadline:
                said = self.page.evaluate("window.warpaint?.said")
                raise TimeoutError(f"{condition} does not come true; the page says {said}")
            self.page.wait_for_timeout(LOOK_EVERY_MS)

    def frames(self, count: int = 3) -> None:
        """Waits until so many more frames are shown."""
        shown = self.page.evaluate("warpaint.shown")
        self.wait(f"warpaint.shown >= {shown + count}")

    def says(self, words: str) -> None:
        """Waits until the status line has said this."""
        self.wait(f"warpaint.said.some((each) => each.includes({words!r}))")

    def read(self, size: tuple[int, int], part: int = 0, parts: int = 1) -> tuple[Image, dict[str, Any]]:
        """What the canvas shows, made this size (W, H): a picture, BGR, and the header of its frame.

        part, parts: which of so many pictures, side by side.
        """
        width, height = self.page.evaluate("[picture.width, picture.height]")
        box = letterboxed(size, (width // parts, height), part)
        found = self.page.evaluate(READS, [*box, *size])
        rgba = np.array(found["pixels"], np.uint8).reshape(size[1], size[0], 4)
        return np.asarray(cv2.cvtColor(rgba, cv2.COLOR_RGBA2BGR), np.uint8), found["header"]


def letterboxed(size: tuple[int, int], area: tuple[int, int], part: int = 0) -> tuple[int, int, int, int]:
    """Where a picture of this shape lies in the middle of an area: x, y, width, height."""
    scale = min(area[0] / size[0], area[1] / size[1])
    width, height = round(size[0] * scale), round(size[1] * scale)
    return part * area[0] + (area[0] - width) // 2, (area[1] - height) // 2, width, height


@contextmanager
def shown(
    running: Browser, url: str, *, init: str = "", forgives: Sequence[str] = (), **context: Any
) -> Iterator[Shown]:
    """The page in a tab of its own. At its end the browser must not have complained of anything that is not forgiven.

    init: JavaScript that runs before the page's. context: what is not as usual; what is usual shares a cache.
    """
    width, height = context.pop("size", USUAL_SIZE)
    usual = not context and bool(running.contexts)
    tabs = running.contexts[0] if usual else running.new_context(**context)
    page = tabs.new_page()
    try:
        page.set_viewport_size(ViewportSize(width=width, height=height))
        page.set_default_timeout(1000 * COMES_WITHIN_S)
        made = Shown(page)
        page.on("pageerror", lambda error: made.complaints.append(f"uncaught: {error}"))
        page.on(
            "console", lambda said: made.complaints.append(said.text) if said.type in ("error", "warning") else None
        )
        page.on("requestfailed", lambda request: made.complaints.append(_failed(request)))
        page.add_init_script(LISTENS + init)
        page.goto(url)
        yield made
        complaints = [*made.complaints, *page.evaluate("window.violations")]
        left = [each for each in complaints if not any(words in each for words in forgives)]
        if left:
            raise AssertionError(f"the browser complains: {left}")
    finally:
        if usual:
            page.close()
        else:
            tabs.close()


def _failed(request: Request) -> str:
    return f"failed: {request.url}: {request.failure}"


class Filming:
    """A live session whose client pushes the frames of a film again and again, in a thread, until the block ends."""

    def __init__(self, daemon: str, frames: Sequence[Image], *, rate: float, **wishes: Any) -> None:
        """rate: frames a second."""
        self._frames = frames
        self._rate = rate
        self._daemon = daemon
        self._wishes = wishes
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._error: BaseException | None = None
        self._ends_badly = False

    def __enter__(self) -> "Filming":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(STARTED_WITHIN_S)
        if self._error is not None and not self._ends_badly:
            raise self._error

    def may_fail(self) -> None:
        """Its daemon is about to be ended."""
        self._ends_badly = True

    def frame(self, index: int) -> Image:
        """The frame that was pushed under this index."""
        return self._frames[index % len(self._frames)]

    def _run(self) -> None:
        try:
            self._film()
        except Exception as error:  # told where it is joined
            self._error = error

    def _film(self) -> None:
        with Client(self._daemon, reconnect_s=0) as client:
            # Without a rate, for which the daemon would keep time free: others are opened beside it.
            session = client.session(pacing="live", max_delay_ms=5000, **self._wishes)
            with session:
                began = time.monotonic()
                number = 0
                while not self._over.wait(max(0.0, began + number / self._rate - time.monotonic())):
                    session.push(self.frame(number), round(1000 * number / self._rate))
                    for _ in session.results(wait=False):
                        pass
                    number += 1


def write_film(path: Path, frames: Sequence[Image], rate: int) -> None:
    """Writes a film that browsers play: H.264 in MP4."""
    height, width = frames[0].shape[:2]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for image in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
        container.mux(stream.encode())
