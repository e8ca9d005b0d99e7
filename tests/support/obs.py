"""OBS Studio without a user: on a screen that nobody sees, with settings of its own, driven through obs-websocket."""

import base64
import json
import logging
import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import obsws_python
from numpy.typing import NDArray

from .bridge import free_port
from .programs import program
from .screen import screen

INSTALL = "apt-get install obs-studio"
SIZE, RATE = (640, 360), 25  # what a processor draws beside all the rest
# Whatever is waited for has come within this, seconds, on a machine that is busy.
COMES_WITHIN_S = 60.0
ENDS_WITHIN_S = 20.0
LOOK_S = 0.1
SCENE, PROFILE = "both", "warpaint"
# The output of Settings > Output > Recording > Custom Output (FFmpeg), by OBS's own name.
FFMPEG_OUTPUT = "adv_ffmpeg_output"

# A keyframe a second, no delay; for the stream, and below for FFmpeg's output.
STREAM_ENCODER = {
    "rate_control": "CBR",
    "bitrate": 2500,
    "keyint_sec": 1,
    "preset": "ultrafast",
    "tune": "zerolatency",
}
FFMPEG_VIDEO = "preset=ultrafast tune=zerolatency"
GLOBAL = """[General]
FirstRun=true
EnableAutoUpdates=false
[BasicWindow]
ShowTrayIcon=false
[OBSWebSocket]
FirstLoad=false
ServerEnabled=true
ServerPort={port}
ServerPassword={password}
AuthRequired=true
AlertsEnabled=false
"""
BASIC = f"""[General]
Name={PROFILE}
[Video]
BaseCX={SIZE[0]}
BaseCY={SIZE[1]}
OutputCX={SIZE[0]}
OutputCY={SIZE[1]}
FPSType=1
FPSInt={RATE}
[Output]
Mode=Advanced
[AdvOut]
Encoder=obs_x264
RecType=FFmpeg
FFOutputToFile=false
FFFormat=mpegts
FFVEncoder=libx264
FFVCustom={FFMPEG_VIDEO}
FFVBitrate=2500
FFVGOPSize={RATE}
FFAEncoder=aac
"""
# As docs/obs.md says it.
MEDIA_SOURCE: dict[str, Any] = {
    "is_local_file": False,
    "input_format": "mpegts",
    "buffering_mb": 1,  # with 0 it throws away the keyframe that it was given, and is late by the wait for the next
    "reconnect_delay_sec": 1,
    "clear_on_media_end": False,
    "restart_on_activate": False,  # else it waits until it is in the program
    "ffmpeg_options": "fpsprobesize=0 analyzeduration=200000",
}


@dataclass
class Obs:
    """OBS, running. Whatever fails in it raises OBSSDKError."""

    requests: Any  # obsws_python has no types

    def add_film(self, name: str, path: Path, *, left: int, width: int) -> None:
        """A file that is played over and over, as wide as this; it stands at the left edge given, pixels."""
        settings = {"local_file": str(path), "is_local_file": True, "looping": True}
        self._add(name, settings, {"positionX": left, "boundsWidth": width})

    def add_painted(self, name: str, url: str, *, left: int, width: int) -> None:
        """A Media Source that reads a bridge, muted. Of what it reads, the left half is seen."""
        place = {"positionX": left, "boundsWidth": width, "cropRight": SIZE[0] // 2}
        self._add(name, MEDIA_SOURCE | {"input": url}, place)
        self.requests.set_input_mute(name, True)

    def read_from(self, name: str, url: str) -> None:
        """Lets a Media Source read from elsewhere."""
        self.requests.set_input_settings(name, {"input": url}, True)

    def _add(self, name: str, settings: dict[str, Any], place: dict[str, Any]) -> None:
        made = self.requests.create_input(SCENE, name, "ffmpeg_source", {"hw_decode": False, **settings}, True)
        stretched = {"boundsType": "OBS_BOUNDS_STRETCH", "boundsAlignment": 0, "boundsHeight": SIZE[1]}
        self.requests.set_scene_item_transform(SCENE, made.scene_item_id, {**stretched, **place})

    def picture(self) -> NDArray[np.uint8]:
        """The program [H, W, 3], BGR, as it is rendered now."""
        data = self.requests.get_source_screenshot(SCENE, "png", None, None, -1).image_data
        coded = np.frombuffer(base64.b64decode(data.partition(",")[2]), np.uint8)
        return np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)

    def stream(self, server: str, key: str) -> None:
        """Settings > Stream > Custom..., and Start Streaming."""
        self.requests.set_stream_service_settings("rtmp_custom", {"server": server, "key": key, "use_auth": False})
        self.requests.start_stream()

    def stop_streaming(self) -> tuple[int, int]:
        """How many frames went out, and how many OBS skipped."""
        self.requests.stop_stream()
        _waited(lambda: not self.requests.get_stream_status().output_active, "OBS goes on streaming")
        status = self.requests.get_stream_status()
        return status.output_total_frames, status.output_skipped_frames

    def record(self, url: str) -> None:
        """Custom Output (FFmpeg) to a URL, and Start Recording."""
        self.requests.set_profile_parameter("AdvOut", "FFURL", url)
        self.requests.start_record()

    def stop_recording(self) -> tuple[int, int]:
        """As `stop_streaming`."""
        frames = self.requests.send("GetOutputStatus", {"outputName": FFMPEG_OUTPUT}, raw=True)
        self.requests.stop_record()
        _waited(lambda: not self.requests.get_record_status().output_active, "OBS goes on recording")
        return frames["outputTotalFrames"], frames["outputSkippedFrames"]


@contextmanager
def obs_studio(folder: Path) -> Iterator[Obs]:
    """OBS with one empty scene. Its outputs are to be stopped at the end. Skips the test where there is no OBS.

    It asks the network for news of its plug-ins, by a proxy if it is told of one: here there is none where it is told.
    Its websocket listens on every address, so it has a password.
    """
    obs = program("obs", INSTALL)
    port, password = free_port(), secrets.token_urlsafe()
    home = _settings(folder / "home", port, password)
    with screen(1280, 800) as display, (folder / "obs.log").open("w") as log:
        flags = ("--multi", "--profile", PROFILE, "--disable-updater", "--disable-missing-files-check")
        environment = _environment(home) | {"DISPLAY": display}
        process = subprocess.Popen([obs, *flags], env=environment, stdout=log, stderr=subprocess.STDOUT)
        try:
            yield _reached(port, password)
            process.send_signal(signal.SIGINT)
            process.wait(ENDS_WITHIN_S)
        finally:
            process.kill()
            process.wait(ENDS_WITHIN_S)


def _settings(home: Path, port: int, password: str) -> Path:
    profile = home / ".config" / "obs-studio" / "basic" / "profiles" / PROFILE
    profile.mkdir(parents=True)
    (home / "run").mkdir(mode=0o700)
    (home / ".config" / "obs-studio" / "global.ini").write_text(GLOBAL.format(port=port, password=password))
    (profile / "basic.ini").write_text(BASIC)
    (profile / "streamEncoder.json").write_text(json.dumps(STREAM_ENCODER))
    return home


def _environment(home: Path) -> dict[str, str]:
    nowhere = "http://127.0.0.1:9"  # nobody listens to the port of `discard`
    return os.environ | {
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / ".config"),
        "XDG_RUNTIME_DIR": str(home / "run"),
        "LIBGL_ALWAYS_SOFTWARE": "1",
        "QT_QPA_PLATFORM": "xcb",
        "http_proxy": nowhere,
        "https_proxy": nowhere,
    }


def _reached(port: int, password: str) -> Obs:
    logging.getLogger("obsws_python").setLevel(logging.CRITICAL)  # it logs what it raises
    _waited(lambda: _listens(port), "OBS does not listen")
    requests = obsws_python.ReqClient(host="127.0.0.1", port=port, password=password, timeout=COMES_WITHIN_S)
    _waited(lambda: _is_ready(requests), "OBS does not get ready")
    requests.create_scene(SCENE)
    requests.set_current_program_scene(SCENE)
    return Obs(requests)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _is_ready(requests: Any) -> bool:
    """It listens before it has loaded its scenes."""
    try:
        return bool(requests.get_scene_list().scenes)
    except obsws_python.error.OBSSDKRequestError:
        return False


def _waited(condition: Callable[[], bool], complaint: str) -> None:
    deadline = time.monotonic() + COMES_WITHIN_S
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(complaint)
        time.sleep(LOOK_S)
