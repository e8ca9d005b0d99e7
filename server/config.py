"""The daemon's settings: from defaults, a TOML file, the environment (`WARPAINT_...`) and flags, in that order."""

import argparse
import json
import os
import sys
import textwrap
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Interval
from pydantic import Field, field_validator
from pydantic_settings import (
    BaseSettings,
    CliSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from ..engines.settings import EngineSettings, listed
from ..proto.address import default_address, is_local
from ..proto.limits import MAX_LINGER_S, MAX_PICTURE_PIXELS, MAX_WINDOW
from . import tables
from .notify import Notifier

# Flags that a list has besides: who holds one painter writes `--painter`, as one does to choose it.
OTHER_FLAGS = {"painters": "painter", "flows": "flow"}
ENVIRONMENT_PREFIX = "WARPAINT_"


def _own_socket() -> tuple[str, ...]:
    return (default_address(os.environ, os.getuid()),)


_CONFIG = SettingsConfigDict(
    env_prefix=ENVIRONMENT_PREFIX,
    env_ignore_empty=True,
    enable_decoding=False,  # a list in the environment is separated by commas
    extra="forbid",
    frozen=True,
    allow_inf_nan=False,
    validate_default=True,
)


class _DaemonSettings(BaseSettings):
    """What can be set of the daemon itself."""

    model_config = _CONFIG

    bind: tuple[str, ...] = Field(
        default_factory=_own_socket,
        min_length=1,
        description="ZeroMQ addresses to listen on: ipc://PATH or tcp://127.0.0.1:PORT. Others are refused: there are "
        "no keys yet. An ipc path is this user's alone.",
    )
    painters: tuple[str, ...] = Field(
        ("filters", "identity", "stills"),
        min_length=1,
        description="Painters to hold: filters, stills, diffusion, identity, the name of another package's entry "
        "point, or module:Class. The first is the default.",
    )
    flows: tuple[str, ...] = Field(
        ("dis", "none"),
        min_length=1,
        description="Flow engines to hold: dis, pdcnet, an entry point, module:Class, or none, with which each frame "
        "is painted alone. The first is the default.",
    )
    max_sessions: Annotated[int, Interval(ge=1, le=10_000)] = Field(
        16,
        description="Sessions at once. Each holds some thirty pictures of its canvas at most: 80 MB at 1280x720; and "
        "two gigabytes more if its frames wait for others (lookahead_s).",
    )
    window: Annotated[int, Interval(ge=1, le=MAX_WINDOW)] = Field(
        8,
        description="How many frames of one session may be unanswered at once: enough to hide the way there "
        "and back, few enough that a change of the Brief shows soon.",
    )
    max_pixels: Annotated[int, Interval(ge=64, le=MAX_PICTURE_PIXELS)] = Field(
        1280 * 720,
        description="Largest working canvas, in pixels; larger frames are painted smaller and scaled back. A session "
        "may ask for less.",
    )
    paint_timeout_s: Annotated[float, Interval(gt=0, le=86_400)] = Field(
        120.0, description="How long a painter may take over one call, in seconds, before it is given up."
    )
    linger_s: Annotated[float, Interval(ge=0, le=MAX_LINGER_S)] = Field(
        30.0,
        description="How long a session waits for a client whose connection is lost, in seconds: a network that comes "
        "back does so within that. It holds its memory meanwhile. 0: not at all. A session may ask for less.",
    )
    state_dir: Path | None = Field(
        None,
        description="Folder to write the sessions down in, so that a daemon that was ended or killed goes on with them "
        "when it starts again. This user's alone: whoever reads it has the sessions. None: nothing is written.",
    )
    snapshot_s: Annotated[float, Interval(gt=0, le=3_600)] = Field(
        5.0,
        description="How often a session is written down, in seconds: what came after is lost with a killed daemon, "
        "and each time takes some milliseconds and tens of megabytes of disk.",
    )
    record_dir: Path | None = Field(
        None,
        description="Folder to record the events of live sessions in, to replay them: 35 MB a second at 768x512 and 30 "
        "frames a second. For finding defects. None: nothing is recorded.",
    )
    probe_s: Annotated[float, Interval(gt=0, le=3_600)] = Field(
        5.0, description="How often a silent client is asked whether it is still there, in seconds."
    )
    drain_s: Annotated[float, Interval(ge=0, le=3_600)] = Field(
        10.0, description="How long the frames in hand may take after SIGTERM, in seconds."
    )
    isolation: str = Field(
        "process",
        pattern="^(process|thread)$",
        description="Where painters paint: each in a process of its own, or in a thread of the daemon's. Python in a "
        "thread holds up the frames of all sessions, and a painter that crashes there ends the daemon; a process costs "
        "some 60 MB, and two milliseconds a picture.",
    )
    flow_threads: Annotated[int, Interval(ge=0, le=1_024)] = Field(
        0, description="Threads that share a frame's flow and warping in the daemon itself; 0: one a core, at most 8."
    )
    painter_threads: Annotated[int, Interval(ge=0, le=1_024)] = Field(
        0, description="Threads that each painter's process may compute with; 0: half as many as there are cores."
    )
    watching: Literal["off", "see", "steer"] = Field(
        "steer",
        description="What clients may do with the sessions of others: nothing, see what is painted, or change the "
        "Brief as well, as a preview page does. Only programs of this machine can connect.",
    )
    until_stdin_closes: bool = Field(
        False, description="End when standard input closes: for a program that starts a daemon of its own."
    )
    metrics_bind: str | None = Field(
        None,
        description="Where to show metrics for Prometheus, and whether the daemon is well: HOST:PORT of this machine, "
        "such as 127.0.0.1:9464, by HTTP. Others are refused: there is no password. None: nowhere.",
    )
    stalled_s: Annotated[float, Interval(ge=2, le=3_600)] = Field(
        30.0,
        description="A loop of the daemon that has not turned for so many seconds hangs: /healthz says so, and the "
        "service manager's watchdog is not fed any more. More than the longest match of a flow takes.",
    )
    log_level: str = Field("info", pattern="^(debug|info|warning|error)$", description="How much goes to the log.")

    @field_validator("bind", "painters", "flows", mode="before")
    @classmethod
    def _listed(cls, value: object) -> object:
        return listed(value)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then the environment, then the file. Flags come before all, where there are any."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)

    @field_validator("bind")
    @classmethod
    def _only_here(cls, addresses: tuple[str, ...]) -> tuple[str, ...]:
        for address in addresses:
            if not is_local(address):
                raise ValueError(
                    f"{address!r} is not allowed: only ipc://PATH and tcp://127.0.0.1:PORT (or [::1]) may be bound"
                )
        return addresses

    @field_validator("metrics_bind")
    @classmethod
    def _metrics_only_here(cls, address: str | None) -> str | None:
        if address is not None and not is_local(f"tcp://{address}"):
            raise ValueError(f"{address!r} is not allowed: only 127.0.0.1:PORT (or [::1]) may be bound")
        return address


class _Flags(EngineSettings, _DaemonSettings):
    """What can be set everywhere. Names are the same in the file, the environment and as flags."""

    model_config = _CONFIG


class Settings(_Flags):
    """Everything about the daemon that can be set; what is set here besides is tables of the file."""

    model_config = _CONFIG

    bridge: tuple[dict[str, Any], ...] | None = Field(
        None,
        description="Bridges that the daemon starts when it listens, and starts again when they end: tables [[bridge]] "
        "of the file, each with in, out, perhaps a name, and any flag of `warpaint bridge`.",
    )
    page: dict[str, Any] | None = Field(
        None,
        description="The page that the daemon starts and watches over in the same way: a table [page] of the file, "
        "with any flag of `warpaint page`.",
    )

    @field_validator("bridge", mode="before")
    @classmethod
    def _bridges_that_can_be(cls, given: object) -> object:
        if given is not None:
            tables.bridges(given)
        return given

    @field_validator("page", mode="before")
    @classmethod
    def _page_that_can_be(cls, given: object) -> object:
        if given is not None:
            tables.page(given)
        return given

    @property
    def programs(self) -> tuple[tables.Program, ...]:
        """The clients that the daemon is to run."""
        page = () if self.page is None else (tables.page(self.page),)
        return (*tables.bridges(self.bridge or ()), *page)

    @property
    def engines(self) -> EngineSettings:
        """The engines' part."""
        return EngineSettings.model_validate(self.model_dump(include=set(EngineSettings.model_fields)))


def parser() -> argparse.ArgumentParser:
    """The command line's own flags; one for each setting joins them in `load_settings`."""
    made = argparse.ArgumentParser(prog="warpaintd", description="The daemon that paints video.", allow_abbrev=False)
    made.add_argument("--version", action="store_true", help="print the version and end")
    made.add_argument("--print-config", action="store_true", help="print the default settings as a file and end")
    made.add_argument(
        "--check", action="store_true", help="look whether a daemon with these settings would work, and end"
    )
    made.add_argument("--config", metavar="FILE", help="read settings from this TOML file")
    return made


def load_settings(arguments: Sequence[str], own: argparse.ArgumentParser) -> Settings:
    """The settings: flags over environment over file over defaults. `own` is `parser()`'s.

    Raises ValidationError, SettingsError, OSError, or ValueError for a file that is not TOML.
    """
    flags = CliSettingsSource[argparse.ArgumentParser](
        _Flags, root_parser=own, cli_kebab_case=True, cli_implicit_flags=True, cli_shortcuts=OTHER_FLAGS
    )
    path = own.parse_args(arguments).config
    if path is not None and not Path(path).is_file():
        raise OSError(f"there is no settings file {path!r}")

    class FromFile(Settings):
        model_config = SettingsConfigDict(toml_file=path)

    try:
        return FromFile(_cli_settings_source=flags(args=list(arguments)))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path} is not TOML: {error}") from None


def unknown_variables() -> list[str]:
    """The variables of the environment that look like settings, and are none."""
    return _unknown(os.environ)


def _unknown(names: Iterable[str]) -> list[str]:
    known = {f"{ENVIRONMENT_PREFIX}{name}".upper() for name in Settings.model_fields}
    return sorted(each for each in names if each.upper().startswith(ENVIRONMENT_PREFIX) and each.upper() not in known)


def service_manager() -> Notifier:
    """What tells the service manager that has started this process, if one has, how it does."""
    return Notifier.of(os.environ)


def environment_of_a_child(**others: str) -> dict[str, str]:
    """The environment for a Python process that finds the modules that this one finds, with these besides."""
    return os.environ | {"PYTHONPATH": os.pathsep.join(str(Path(each).absolute()) for each in sys.path)} | others


def default_file() -> str:
    """The default settings as a TOML file, each with its description."""
    lines = ["# The settings of warpaintd, with their defaults.", ""]
    for name, field in Settings.model_fields.items():
        lines += textwrap.wrap(field.description or "", 100, initial_indent="# ", subsequent_indent="# ")
        value = field.get_default(call_default_factory=True, validated_data={})
        if value is None:  # which TOML has no word for
            lines += [f"# {name} is not set", ""]
            continue
        mark = "# " if field.default_factory else ""  # depends on the user: shown, not set
        lines += [f"{mark}{name} = {json.dumps(value)}", ""]
    return "\n".join(lines)
