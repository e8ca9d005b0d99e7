"""`warpaintd`: the daemon's command line. It parses and prints, nothing else."""

import logging
import sys

import cv2
from pydantic import ValidationError
from pydantic_settings import SettingsError

from .. import __version__
from ..engines.registry import load_flow, load_painter
from ..proto.brief import explain
from ..proto.errors import RefusedError
from .config import Settings, default_file, load_settings, parser
from .engine_room import EngineRoom
from .gateway import Gateway
from .store import Store

# Exit codes: of the daemon's own choice, and as the shell knows them.
FAILED, MISUSED = 1, 2

log = logging.getLogger(__name__)


def main() -> None:
    """Runs the daemon until SIGTERM. Exits with 0, with 2 for settings that cannot be, with 1 for all else."""
    own = parser()
    try:
        settings = load_settings(sys.argv[1:], own)
    except ValidationError as error:
        _exit(MISUSED, explain(error, "settings"))
    except (SettingsError, OSError, ValueError) as error:
        _exit(MISUSED, str(error))
    wanted = own.parse_args()
    if wanted.version:
        sys.stdout.write(f"warpaintd {__version__}\n")
    elif wanted.print_config:
        sys.stdout.write(default_file())
    else:
        _serve(settings)


def _serve(settings: Settings) -> None:
    logging.basicConfig(level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    cv2.setNumThreads(settings.opencv_threads or cv2.getNumberOfCPUs())
    try:
        painters = {name: load_painter(name) for name in settings.painters}
        flows = {name: load_flow(name) for name in settings.flows if name != "none"}
        room = EngineRoom(painters, flows, paint_timeout_s=settings.paint_timeout_s)
        store = None if settings.state_dir is None else Store(settings.state_dir)
        gateway = Gateway(settings, room, store)
        gateway.bind()
    except (RefusedError, OSError) as error:
        _exit(FAILED, str(error))
    for address in gateway.addresses:
        sys.stdout.write(f"warpaintd listens on {address}\n")
    sys.stdout.flush()
    gateway.run()
    room.close()
    if store is not None:
        store.close(settings.drain_s)
    log.info("ended")


def _exit(code: int, message: str) -> None:
    sys.stderr.write(f"warpaintd: {message}\n")
    raise SystemExit(code)
