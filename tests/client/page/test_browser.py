"""The preview page as a user has it: a real browser, a real `warpaint page`, a real daemon, and what is then seen."""

import base64
import json
import signal
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from playwright.sync_api import Browser

from support.browser import Filming, Image, Shown, browser, page_server, shown, write_film
from support.daemon import daemon
from support.scenes import film, two_layers

pytestmark = pytest.mark.programs

SIZE = (192, 128)
RATE = 8.0
# Mean absolute difference, levels: what two codings and two scalings leave of a picture, and what another picture has.
ALIKE, DIFFERENT = 6.0, 15.0
STOPS_WITHIN_S = 20.0
# A camera of little pixels: painting a large one is not what is tested.
SMALL_CAMERA = """
const get = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
navigator.mediaDevices.getUserMedia = () => get({ video: { width: 160, height: 120 } });
"""
# A page that is told to be hidden.
HIDES = "Object.defineProperty(document, 'hidden', { get: () => window.isHidden === true });"
TURNS = "(hidden) => { window.isHidden = hidden; document.dispatchEvent(new Event('visibilitychange')); }"
FOCUSED = """() => {
  const { id, name, dataset, className, parentElement } = document.activeElement;
  return id || name || dataset.map || `${parentElement.dataset.control ?? ''}${className}`;
}"""


@dataclass
class Place:
    """Where the tests happen."""

    running: Browser
    url: str
    filming: Filming


@pytest.fixture(scope="module")
def frames() -> list[Image]:
    """Something soft, of which codecs leave much, that moves to and fro, so that it has no cuts."""
    sharp = film(two_layers(SIZE, foreground=(1.0, 0.4), background=(0.3, 0.2)), int(2 * RATE), SIZE)
    there = [np.asarray(cv2.GaussianBlur(each, (0, 0), 2.0), np.uint8) for each in sharp]
    return [*there, *there[-2:0:-1]]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, frames: list[Image]) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("page")
    wishes = {"painter": "filters", "look": "poster", "name": "film"}
    with (
        browser() as running,
        daemon(folder) as served,
        page_server(served.address, folder) as url,
        Filming(served.address, frames, rate=RATE, **wishes) as filming,
    ):
        yield Place(running, url, filming)


def far_from(picture: Image, other: Image) -> float:
    """The mean absolute difference, levels."""
    return float(np.abs(picture.astype(np.int16) - other).mean())


def seen_raw(tab: Shown, filming: Filming, part: int = 0, parts: int = 1) -> None:
    """Fails unless the canvas shows the very frame that was sent."""
    picture, header = tab.read(SIZE, part, parts)
    sent = filming.frame(header["index"])
    assert far_from(picture, sent) < ALIKE
    assert far_from(picture, np.ascontiguousarray(sent[:, ::-1])) > DIFFERENT


def colourfulness(picture: Image) -> float:
    """How far channels are from each other, levels."""
    return float((picture.max(axis=2).astype(np.int16) - picture.min(axis=2)).mean())


def received(url: str) -> int:
    """How many frames the newest session has sent."""
    with urllib.request.urlopen(f"{url}api/status", timeout=STOPS_WITHIN_S) as answer:
        count: int = json.load(answer)["sessions"][-1]["totals"]["received"]
        return count


# What is seen


def test_the_film_is_seen_raw_and_painted(place: Place) -> None:
    with shown(place.running, place.url) as tab:
        tab.frames()
        assert tab.page.evaluate("warpaint.codec") == "h264"
        tab.page.keyboard.press("4")
        tab.wait("warpaint.last.tiles.length === 1 && warpaint.last.tiles[0].name === 'raw'")
        seen_raw(tab, place.filming)
        tab.page.keyboard.press("3")
        tab.wait("warpaint.last.tiles.length === 1 && warpaint.last.tiles[0].name === 'painted'")
        painted, header = tab.read(SIZE)
        assert far_from(painted, place.filming.frame(header["index"])) > ALIKE / 2
        tab.page.keyboard.press("1")
        tab.wait("warpaint.last.tiles.length === 2")
        seen_raw(tab, place.filming, part=0, parts=2)


def test_the_divider_is_moved_by_keys_and_dragged(place: Place) -> None:
    with shown(place.running, place.url) as tab:
        tab.frames()
        tab.page.focus("#divider")
        tab.page.keyboard.press("ArrowLeft")
        assert tab.page.get_attribute("#divider", "aria-valuenow") == "48"
        tab.page.keyboard.press("End")
        assert tab.page.get_attribute("#divider", "aria-valuenow") == "100"
        tab.frames(1)
        seen_raw(tab, place.filming)
        tab.page.keyboard.press("Home")
        tab.frames(1)
        assert tab.page.get_attribute("#divider", "aria-valuetext") == "0 % raw"
        box = tab.page.locator("#divider .grip").bounding_box()
        assert box is not None
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        tab.page.mouse.move(x, y)
        tab.page.mouse.down()
        tab.page.mouse.move(x + 120, y, steps=3)
        tab.page.mouse.up()
        moved = tab.page.locator("#divider .grip").bounding_box()
        assert moved is not None
        assert abs(moved["x"] - box["x"] - 120) < 3


def test_maps_are_seen_beside_it_and_large(place: Place) -> None:
    with shown(place.running, place.url) as tab:
        tab.frames()
        for name in ("flow", "holes"):
            tab.page.click(f"[data-map={name}]")
        tab.wait("warpaint.last.tiles.map((each) => each.name).join() === 'raw,painted,flow,holes'")
        tab.page.click("[aria-label='See the map of holes large']")
        tab.wait("document.getElementById('left-label').textContent === 'holes'")
        assert tab.page.is_hidden("#divider")


def test_figures_are_told(place: Place) -> None:
    with shown(place.running, place.url) as tab:
        tab.frames(8)
        tab.wait("document.querySelector('.card.rate .value').textContent.endsWith('fps')")
        tab.wait("/[0-9] ms/.test(document.querySelector('.card.delay .value').textContent)")
        tab.wait("/[0-9] %/.test(document.querySelector('.key .share').textContent)")
        assert tab.page.evaluate("warpaint.shown_per_second") > 0
        assert tab.page.evaluate("warpaint.arrival_to_canvas_ms") >= 0


def test_jpeg_is_seen_where_the_browser_decodes_no_video(place: Place) -> None:
    with shown(place.running, place.url, init="delete window.VideoDecoder;") as tab:
        tab.page.keyboard.press("4")
        tab.frames()
        assert tab.page.evaluate("warpaint.codec") == "jpeg"
        tab.wait("warpaint.last.tiles.length === 1")
        seen_raw(tab, place.filming)


def test_a_decoder_that_fails_again_and_again_is_replaced_by_jpeg(place: Place) -> None:
    fails = "VideoDecoder.prototype.decode = () => { throw new Error('it is broken'); };"
    with shown(place.running, place.url, init=fails) as tab:
        tab.says("it is broken. The picture comes as JPEG from here on.")
        tab.frames()
        assert tab.page.evaluate("warpaint.codec") == "jpeg"


def test_two_pages_see_the_same(place: Place) -> None:
    with shown(place.running, place.url) as one, shown(place.running, place.url) as other:
        for tab in (one, other):
            tab.page.keyboard.press("4")
            tab.frames()
            tab.wait("warpaint.last.tiles.length === 1")
            seen_raw(tab, place.filming)


def test_a_hidden_page_is_sent_nothing(place: Place) -> None:
    with shown(place.running, place.url, init=HIDES) as tab:
        tab.frames()
        tab.page.evaluate(TURNS, True)
        tab.page.wait_for_timeout(300)  # what was on its way has come
        before = tab.page.evaluate("warpaint.shown + warpaint.thrown")
        tab.page.wait_for_timeout(4_000 / RATE)
        assert tab.page.evaluate("warpaint.shown + warpaint.thrown") == before
        tab.page.evaluate(TURNS, False)
        tab.frames()


def test_the_bare_page_is_the_picture_alone_on_nothing(place: Place) -> None:
    with shown(place.running, f"{place.url}?bare&picture=raw", size=(400, 400)) as tab:
        tab.frames()
        seen_raw(tab, place.filming)
        assert tab.page.locator("body > :visible").count() == 1
        png = np.frombuffer(tab.page.screenshot(omit_background=True), np.uint8)
        alpha = cv2.imdecode(png, cv2.IMREAD_UNCHANGED)[..., 3]
        assert (alpha[:40].max(), alpha[180:220].min()) == (0, 255)


# What is turned


def test_a_control_changes_the_look_and_is_told_when_it_shows(place: Place) -> None:
    with shown(place.running, place.url) as tab:
        tab.page.keyboard.press("3")
        tab.frames()
        tab.wait("warpaint.last.tiles.length === 1")
        coloured = colourfulness(tab.read(SIZE)[0])
        tab.page.check("input[value=pencil]")
        tab.page.wait_for_selector("[data-control=look][data-state=shown]")
        assert "shown at frame" in tab.page.inner_text("[data-control=look] .field-state")
        deadline = time.monotonic() + STOPS_WITHIN_S
        while colourfulness(tab.read(SIZE)[0]) > coloured / 3 and time.monotonic() < deadline:
            tab.frames(1)  # it fades in
        assert colourfulness(tab.read(SIZE)[0]) < coloured / 3
        tab.page.click("[data-control=look] .field-reset")
        tab.page.wait_for_selector("[data-control=look] input[value=strokes]:checked")
        tab.page.check("input[value=poster]")
        tab.page.wait_for_selector("[data-control=look][data-state=shown]")


def test_a_value_that_is_refused_is_told_beside_it(place: Place) -> None:
    with shown(place.running, place.url) as tab:
        tab.frames()
        tab.page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
        tab.page.fill("#control-keyframe_gap_min_s", "3000")
        tab.page.keyboard.press("Enter")
        tab.page.wait_for_selector("[data-control=keyframe_gap_min_s][data-state=refused]")
        assert "must not exceed" in tab.page.inner_text("[data-control=keyframe_gap_min_s] .field-trouble")
        tab.page.focus("#control-keyframe_gap_min_s")
        tab.page.keyboard.press("Escape")
        assert tab.page.input_value("#control-keyframe_gap_min_s") == "0.3333"


def test_others_move_the_controls_but_not_those_in_hand(place: Place) -> None:
    with shown(place.running, place.url) as one, shown(place.running, place.url) as other:
        one.frames()
        other.frames()
        other.page.focus("#control-prompt")
        one.page.fill("#control-strength", "0.5")
        one.page.keyboard.press("Enter")
        other.wait("document.getElementById('control-strength').value === '0.5'")
        other.page.keyboard.type("a")
        one.page.fill("#control-prompt", "from elsewhere")
        one.page.wait_for_selector("[data-control=prompt][data-state=shown], [data-control=prompt][data-state=taken]")
        assert other.page.input_value("#control-prompt") == "a"


def test_the_film_is_held_and_goes_on(place: Place) -> None:
    with shown(place.running, place.url) as tab:
        tab.frames()
        tab.page.keyboard.press(" ")
        tab.wait("document.getElementById('hold').getAttribute('aria-pressed') === 'true'")
        assert tab.page.is_visible("#holding")
        tab.page.click("#hold")
        tab.wait("document.getElementById('hold').getAttribute('aria-pressed') === 'false'")
        tab.page.keyboard.press("k")
        tab.says("The new keyframe is shown from frame")


def test_a_still_is_saved(place: Place, tmp_path: Path) -> None:
    with shown(place.running, place.url, accept_downloads=True) as tab:
        tab.frames()
        with tab.page.expect_download() as coming:
            tab.page.keyboard.press("s")
        assert coming.value.suggested_filename.endswith(".png")
        coming.value.save_as(tmp_path / "still.png")
        picture = cv2.imread(str(tmp_path / "still.png"))
        assert picture is not None
        assert picture.shape == (SIZE[1], SIZE[0], 3)


# What is sent


def test_the_webcam_becomes_a_session_that_is_painted(place: Place) -> None:
    with shown(place.running, place.url, init=SMALL_CAMERA + HIDES) as tab:
        tab.frames()
        tab.page.click("#use-webcam")
        tab.page.fill("#source-look", "ink")
        tab.page.click("#source-dialog .primary")
        tab.wait("warpaint.last.tiles[0].width === 160")
        tab.frames(5)
        assert tab.page.inner_text(".tab[aria-current] strong") == "webcam"
        tab.wait("document.getElementById('source-bar').textContent.includes('fps sent as')")
        assert tab.page.is_checked("input[value=ink]")
        sent = received(place.url)
        tab.page.evaluate(TURNS, True)
        deadline = time.monotonic() + STOPS_WITHIN_S
        while received(place.url) < sent + 5 and time.monotonic() < deadline:
            time.sleep(0.1)
        assert received(place.url) >= sent + 5  # whoever shows it elsewhere has this page in the background
        tab.page.evaluate(TURNS, False)
        tab.page.click("#source-bar button")
        tab.wait("warpaint.last.tiles[0].width === 192")  # the film is seen again


@pytest.mark.parametrize("coder", ["h264", "jpeg"])
def test_a_video_file_becomes_a_session(place: Place, tmp_path: Path, frames: list[Image], coder: str) -> None:
    path = tmp_path / "moving.mp4"
    write_film(path, [cv2.resize(each, (160, 96)) for each in frames], int(RATE))
    without = "delete window.VideoEncoder;" if coder == "jpeg" else ""
    with shown(place.running, place.url, init=without) as tab:
        tab.frames()
        if coder == "h264":
            tab.page.set_input_files("#file-input", path)
        else:
            drop(tab, path)
        tab.page.click("#source-dialog .primary")
        tab.wait("warpaint.last.tiles[0].width === 160")
        tab.frames(3)
        tab.wait(f"document.getElementById('source-bar').textContent.includes('sent as {coder}')")
        tab.page.click("#source-bar button")
        tab.wait("warpaint.last.tiles[0].width === 192")


def drop(tab: Shown, path: Path) -> None:
    """Drops a file on the page."""
    data = base64.b64encode(path.read_bytes()).decode()
    tab.page.evaluate(
        """([data, name]) => {
          const bytes = Uint8Array.from(atob(data), (each) => each.charCodeAt(0));
          const dataTransfer = new DataTransfer();
          dataTransfer.items.add(new File([bytes], name, { type: 'video/mp4' }));
          document.body.dispatchEvent(new DragEvent('drop', { dataTransfer, bubbles: true, cancelable: true }));
        }""",
        [data, path.name],
    )


def test_a_file_that_is_no_video_is_told(place: Place, tmp_path: Path) -> None:
    path = tmp_path / "words.mp4"
    path.write_text("no video")
    with shown(place.running, place.url) as tab:
        tab.frames()
        tab.page.set_input_files("#file-input", path)
        tab.page.click("#source-dialog .primary")
        tab.says("This browser cannot play words.mp4.")


# How it is got at


def test_a_phone_has_it_without_scrolling_sideways(place: Place) -> None:
    with shown(place.running, place.url, size=(360, 740), device_scale_factor=2, has_touch=True) as tab:
        tab.frames()
        tab.page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
        assert tab.page.evaluate("document.documentElement.scrollWidth") == 360
        wider = "[...document.querySelectorAll('button, input, textarea')].filter((each) => each.checkVisibility()"
        assert tab.page.evaluate(f"{wider} && each.getBoundingClientRect().right > 361).length") == 0
        tab.page.click("[data-map=flow]")
        assert tab.page.evaluate("document.documentElement.scrollWidth") == 360


def test_the_keyboard_reaches_everything(place: Place) -> None:
    with shown(place.running, place.url) as tab:
        tab.frames()
        reached = set()
        for _ in range(60):
            tab.page.keyboard.press("Tab")
            reached.add(tab.page.evaluate(FOCUSED))
        wanted = {"use-webcam", "open-file", "help-button", "divider", "mode", "flow", "hold", "rekey", "still", "full"}
        assert wanted <= reached
        assert {"control-look", "control-prompt", "control-strength", "control-seed"} <= reached
        tab.page.keyboard.press("?")
        assert tab.page.is_visible("#help-dialog")
        tab.page.keyboard.press("Escape")
        assert tab.page.is_hidden("#help-dialog")


# What is told where something is missing


def test_the_page_comes_back_with_its_daemon(place: Place, tmp_path: Path, frames: list[Image]) -> None:
    with page_server(f"ipc://{tmp_path}/warpaint.sock", tmp_path) as url, shown(place.running, url) as tab:
        tab.page.wait_for_selector("text=No daemon answers")
        for look, watching in (("ink", "steer"), ("pencil", "see")):
            with daemon(tmp_path, "--watching", watching) as served:
                tab.page.wait_for_selector("text=Nothing is being painted yet")
                with Filming(served.address, frames, rate=RATE, look=look) as filming:
                    tab.frames()
                    tab.page.wait_for_selector(f"input[value={look}]:checked")
                    assert tab.page.is_disabled("#control-prompt") == (watching == "see")
                    assert tab.page.is_visible("text=can be watched, but not steered") == (watching == "see")
                    filming.may_fail()
                    served.process.send_signal(signal.SIGTERM)
                    served.process.wait(STOPS_WITHIN_S)
                    tab.page.wait_for_selector("text=No daemon answers")
