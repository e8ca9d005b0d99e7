"""The configuration files of a model's parts, as diffusers and transformers write them: the fields that matter here."""

from pathlib import Path
from typing import Annotated, TypeVar

from annotated_types import Len
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError

from .headers import refused

Widths = Annotated[tuple[PositiveInt, ...], Len(1)]
Kinds = Annotated[tuple[str, ...], Len(1)]


class Config(BaseModel):
    """A config.json. `type` is the class that it is of, where it says so."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    type: str = Field("", alias="_class_name")


class UNetConfig(Config):
    """A UNet's, or the first half's of one. cross_attention_dim is the width of what the text encoder returns."""

    in_channels: PositiveInt
    cross_attention_dim: PositiveInt
    block_out_channels: Widths
    layers_per_block: PositiveInt
    down_block_types: Kinds
    up_block_types: tuple[str, ...] = ()
    addition_embed_type: str | None = None  # SDXL's


class ControlNetConfig(UNetConfig):
    """A ControlNet's."""


class VaeConfig(Config):
    """A VAE's, also of a tiny one."""

    latent_channels: PositiveInt
    block_out_channels: Widths = (1,)
    layers_per_block: PositiveInt = 1


class TextConfig(Config):
    """A text encoder's."""

    num_hidden_layers: PositiveInt


C = TypeVar("C", bound=BaseModel)


def read_config(file: Path, kind: type[C]) -> C:
    """What a JSON file holds, as this kind. Raises RefusedError, with the first thing that is wrong."""
    try:
        return kind.model_validate_json(file.read_bytes())
    except OSError as error:
        raise refused(file, f"cannot be read: {error.strerror or error}") from error
    except ValidationError as error:
        wrong = error.errors(include_url=False)[0]
        place = ".".join(map(str, wrong["loc"]))
        raise refused(file, f"is not what it should be: {f'{place}: ' if place else ''}{wrong['msg']}") from error
