"""Engines by name: built in, an entry point of another package, or `module:Class`."""

from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from ..proto.brief import Brief
from ..proto.errors import Code, RefusedError
from ..proto.limits import MAX_NAME
from .base import FlowEngine, Painter
from .settings import EngineSettings

PAINTER_GROUP = "warpaint.painters"
FLOW_GROUP = "warpaint.flows"
DEFAULTS = EngineSettings()


def _filters(_settings: EngineSettings) -> Painter:
    from .painters.filters import Filters

    return Filters()


def _identity(_settings: EngineSettings) -> Painter:
    from .painters.identity import Identity

    return Identity()


def _stills(_settings: EngineSettings) -> Painter:
    from .painters.stills import Stills

    return Stills()


def _diffusion(settings: EngineSettings) -> Painter:
    try:
        from .painters.diffusion.weights.files import inspected

        files = inspected(settings)  # without torch, which takes seconds to import: a wrong path is told at once
        from .painters.diffusion.painter import Diffusion
    except ModuleNotFoundError as error:
        why = f"the painter 'diffusion' needs the package {error.name}: pip install 'warpaint[diffusion]'"
        raise RefusedError(Code.UNKNOWN_ENGINE, why) from error
    return Diffusion(settings, files)


def _diffusion_rules(settings: EngineSettings) -> "BriefRule":
    from .painters.diffusion.rules import complaint

    return partial(complaint, settings=settings)


def _dis(_settings: EngineSettings) -> FlowEngine:
    from .flow.dis import Dis

    return Dis()


def _pdcnet(settings: EngineSettings) -> FlowEngine:
    try:
        from .flow.pdcnet.files import inspected

        weights = inspected(settings.pdcnet_weights)
        from .flow.pdcnet.engine import opened
    except ModuleNotFoundError as error:
        why = f"the flow 'pdcnet' needs the package {error.name}: pip install 'warpaint[pdcnet]'"
        raise RefusedError(Code.UNKNOWN_ENGINE, why) from error
    try:
        return opened(weights, settings)
    except RuntimeError as error:  # torch's own, such as for want of memory on a GPU
        raise RefusedError(Code.UNKNOWN_ENGINE, f"the flow 'pdcnet' cannot be loaded: {error}") from error


# Imported when asked for: a daemon without an engine does not pay for its imports.
PAINTERS: dict[str, Callable[[EngineSettings], Painter]] = {
    "diffusion": _diffusion,
    "filters": _filters,
    "identity": _identity,
    "stills": _stills,
}
FLOWS: dict[str, Callable[[EngineSettings], FlowEngine]] = {"dis": _dis, "pdcnet": _pdcnet}

# Why a painter cannot follow a Brief, in a sentence; empty: it can, as far as that is known without its models.
BriefRule = Callable[[Brief], str]
BRIEF_RULES: dict[str, Callable[[EngineSettings], BriefRule]] = {"diffusion": _diffusion_rules}

# Painters that do little but hand on what they are given: carrying pictures to another process and back would be most
# of the work that there is. Named here, not by the painter: whoever takes long must not be able to say it does not.
LIGHT_PAINTERS = frozenset({"identity", "stills"})


def load_painter(name: str, settings: EngineSettings = DEFAULTS) -> Painter:
    """The painter of this name. Raises RefusedError: UNKNOWN_ENGINE, listing what there is."""
    painter = _load(name, "painter", PAINTERS, PAINTER_GROUP, settings)
    if not callable(getattr(painter, "paint", None)) or not _are_names(getattr(painter, "looks", None)):
        raise RefusedError(
            Code.UNKNOWN_ENGINE, f"{name!r} is no painter: it needs a method `paint` and a tuple `looks`, of names"
        )
    return painter


def brief_rule(painter: str, settings: EngineSettings) -> BriefRule:
    """What tells a Brief that this painter cannot follow, so that it is refused before it gets there."""
    rule = BRIEF_RULES.get(painter)
    return any_brief if rule is None else rule(settings)


def any_brief(_brief: Brief) -> str:
    """The rule of a painter that has none: it follows what it can, and passes over the rest."""
    return ""


def _are_names(looks: object) -> bool:
    """Whether these are looks: at least one, each a text that fits into a message."""
    if not isinstance(looks, tuple | list) or not looks:
        return False
    return all(isinstance(look, str) and 0 < len(look) <= MAX_NAME for look in looks)


def load_flow(name: str, settings: EngineSettings = DEFAULTS) -> FlowEngine:
    """The flow engine of this name. Raises RefusedError: UNKNOWN_ENGINE, listing what there is."""
    flow = _load(name, "flow engine", FLOWS, FLOW_GROUP, settings)
    if not callable(getattr(flow, "encode", None)) or not callable(getattr(flow, "match", None)):
        raise RefusedError(Code.UNKNOWN_ENGINE, f"{name!r} is no flow engine: it needs methods `encode` and `match`")
    return flow


def _load(
    name: str,
    kind: str,
    built_in: Mapping[str, Callable[[EngineSettings], Any]],
    group: str,
    settings: EngineSettings,
) -> Any:
    if name in built_in:
        return built_in[name](settings)
    found = entry_points(group=group)
    if name in found.names:
        return _made(name, kind, found[name].load)
    module, colon, attribute = name.partition(":")
    if colon:
        return _made(name, kind, lambda: getattr(import_module(module), attribute))
    known = ", ".join(sorted({*built_in, *found.names}))
    raise RefusedError(Code.UNKNOWN_ENGINE, f"no {kind} {name!r} here; there are {known}, or module:Class")


def _made(name: str, kind: str, load: Callable[[], Callable[[], Any]]) -> Any:
    try:
        return load()()
    except Exception as error:  # third-party code may raise anything
        raise RefusedError(
            Code.UNKNOWN_ENGINE, f"the {kind} {name!r} cannot be loaded: {type(error).__name__}: {error}"
        ) from error
