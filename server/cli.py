"""`warpaintd`: the daemon's command line. It parses and prints, nothing else."""

import faulthandler
import logging
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from pydantic import ValidationError
from pydantic_settings import SettingsError

from .. import __version__
from ..engines import workers
from ..engines.registry import load_flow
from ..proto.brief import explain
from ..proto.errors import RefusedError
from .config import Settings, default_file, load_settings, parser, service_manager
from .cores import available, budget, limit_threads
from .dry_run import troubles
from .engine_room import EngineRoom
from .gateway import Gateway
from .health import Health
from .isolation import STDERR, start_painters, wait_for
from .logs import fill_standard_descriptors, log_to_stderr
from .notify import Notifier
from .store import Store
from .supervisor import Supervisor
from .trial import introduce

if TYPE_CHECKING:
    from .metrics import Collected

# Exit codes: of the daemon's own choice, and as the shell knows them.
FAILED, MISUSED, INTERRUPTED = 1, 2, 130

log = logging.getLogger(__name__)


def main() -> None:
    """Runs the daemon until SIGTERM, or checks it.

    Exits with 0, with 2 for settings that cannot be, with 130 for Ctrl-C in a check, with 1 for all else.
    """
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
    elif wanted.check:
        _check(settings, wanted.config)
    else:
        _serve(settings)


def _check(settings: Settings, file: str | None) -> None:
    """Exits with 1 if something is wrong. What is logged is for those who ask for it."""
    from .check import check

    fill_standard_descriptors()
    log_to_stderr(logging.DEBUG if settings.log_level == "debug" else logging.CRITICAL)
    try:
        well = check(settings, file, sys.stdout)
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None
    if not well:
        raise SystemExit(FAILED)


def _serve(settings: Settings) -> None:
    fill_standard_descriptors()
    faulthandler.enable(STDERR)  # where each thread was, if a library ends the process, or the watchdog does
    log_to_stderr(settings.log_level.upper())
    notifier = service_manager()
    with ExitStack() as held:
        try:
            if wrong := troubles(settings.programs):
                _exit(MISUSED, "; ".join(f"{program}: {trouble}" for program, trouble in wrong.items()))
            supervisor = Supervisor(settings.programs)
            held.callback(supervisor.close)
            gateway = _started(settings, held, notifier, supervisor)
        except (RefusedError, OSError) as error:
            notifier.say(f"STATUS={error}", "ERRNO=1")
            _exit(FAILED, str(error))
        gateway.run(lambda: _announce(gateway.addresses, notifier, supervisor))
    log.info("ended")


def _announce(addresses: Sequence[str], notifier: Notifier, supervisor: Supervisor) -> None:
    for address in addresses:
        sys.stdout.write(f"warpaintd listens on {address}\n")
    sys.stdout.flush()
    notifier.say("READY=1", f"STATUS=listening on {', '.join(addresses)}")
    supervisor.start(addresses)


def _started(settings: Settings, held: ExitStack, notifier: Notifier, supervisor: Supervisor) -> Gateway:
    """The daemon, ready to run; `held` ends what it was made of. The painters' processes load beside the flows."""
    health = Health(settings.stalled_s)
    collected = _watched(settings, held, health)
    if collected is not None:
        collected.children = supervisor.children
    notifier.say("STATUS=loading the engines")
    cores = budget(available(), flow_threads=settings.flow_threads, painter_threads=settings.painter_threads)
    isolated = settings.isolation == "process"
    engines = settings.engines
    painters = start_painters(settings.painters, held, isolated=isolated, threads=cores.painter, settings=engines)
    workers.use(cores.daemon)
    flows = {name: load_flow(name, engines) for name in settings.flows if name != "none"}
    wait_for(painters)
    limit_threads(opencv=1, torch=cores.torch(isolated=isolated))
    room = EngineRoom(painters, flows, paint_timeout_s=settings.paint_timeout_s)
    held.callback(room.close)
    for runner in room.flows.values():
        introduce(runner)
    if settings.record_dir is not None:
        settings.record_dir.mkdir(parents=True, exist_ok=True)
    store = None
    if settings.state_dir is not None:
        store = Store(settings.state_dir)
        held.callback(store.close, settings.drain_s)
    gateway = Gateway(settings, room, store, health, notifier, supervisor.part)
    gateway.bind()
    if collected is not None:
        collected.source, collected.room = gateway, room
    return gateway


def _watched(settings: Settings, held: ExitStack, health: Health) -> "Collected | None":
    """What is shown by HTTP from now on, if anything is to be. It comes first: a taken port is told at once."""
    if settings.metrics_bind is None:
        return None
    from .monitor import Monitor  # HTTP and its like: a tenth of a second for whoever wants it

    monitor = Monitor(settings.metrics_bind, health)
    held.callback(monitor.close)
    return monitor.collected


def _exit(code: int, message: str) -> None:
    sys.stderr.write(f"warpaintd: {message}\n")
    raise SystemExit(code)
