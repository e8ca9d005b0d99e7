"""The configuration of Stable Diffusion 1.x, which comes with the package: all that a model is but its weights.

A checkpoint in a single file holds tensors alone. What they are the tensors of is in the folder `sd1`, laid out as
diffusers lays out a model; only CLIP's vocabulary is packed, and follows from its merges.
"""

import gzip
import json
import shutil
from pathlib import Path

CONFIGURATION = Path(__file__).with_name("sd1")
MERGES = "tokenizer/merges.txt.gz"
INPAINT_CHANNELS = 9  # of the UNet's input: 4 of the latent, 1 of the mask, 4 of the masked picture


def written(folder: Path, *, inpaint: bool) -> Path:
    """The folder, which now holds the configuration of a base or an inpaint model, and its whole tokenizer."""
    shutil.copytree(CONFIGURATION, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.gz", "NOTICE"))
    if inpaint:
        _change(folder / "model_index.json", {"_class_name": "StableDiffusionInpaintPipeline"})
        _change(folder / "unet" / "config.json", {"in_channels": INPAINT_CHANNELS})
    merges = gzip.decompress((CONFIGURATION / MERGES).read_bytes()).decode("utf-8")
    (folder / "tokenizer" / "merges.txt").write_text(merges, encoding="utf-8")
    _write(folder / "tokenizer" / "vocab.json", vocabulary(merges.splitlines()[1:]))
    return folder


def vocabulary(merges: list[str]) -> dict[str, int]:
    """CLIP's tokens and their numbers: the bytes, the bytes that end a word, what each merge makes, and two more."""
    letters = byte_letters()
    merged = (merge.replace(" ", "") for merge in merges)
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), *merged, "<|startoftext|>", "<|endoftext|>"]
    return {token: number for number, token in enumerate(tokens)}


def byte_letters() -> list[str]:
    """A printable letter for each of the 256 bytes, in the order of CLIP's tokens: what is printable comes first."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = 256 - len(printable)
    return [chr(byte) for byte in printable] + [chr(256 + number) for number in range(others)]


def _change(file: Path, values: dict[str, object]) -> None:
    """Writes these values of a JSON object over those that it has."""
    _write(file, json.loads(file.read_text(encoding="utf-8")) | values)


def _write(file: Path, content: dict[str, object] | dict[str, int]) -> None:
    file.write_text(json.dumps(content, indent=2, ensure_ascii=False), encoding="utf-8")
