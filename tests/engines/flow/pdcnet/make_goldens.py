"""Makes the golden files beside it: `python tests/engines/flow/pdcnet/make_goldens.py FOLDER`.

They are results of the published implementation of PDC-Net+, in float32 on a CPU, for the weights of
`support.pdc_weights` and three iterations of both GOCor modules. FOLDER holds them whole: `state_dict.json`,
`fixture_{a,d}_it3.npz` and `debug_a_it3.npz`. Here are parts that are small and suffice:

- `state_dict.json.gz`: names, shapes and types of the checkpoint's tensors, in order.
- `{a,d}_{target,source}.png`: the pictures, whole.
- `{a,d}.npz`: flow, confidences and variance at every fifth pixel, down and across.
- `modules.npz`: what the modules of a level read and what they wrote, of pair a. N is the level:
  - `localN_*`: all about the local module and the plain correlation on a part of the map, [1, C, h, w]. `_target` and
    `_source` are features; the others are of the pixels whose windows lie in that part, or reach over the map's edge;
    `_inner` is where these lie in it: top, bottom, left, right. Of `_init`, every eighth channel.
  - `..._sample`: every 101st number of the flattened map.
  - `unc4_corr`: [256, 32], every eighth pixel of the target.
  - the others: the map, or its top left corner. `upN_*` is what goes down from level N to the next.
"""

import gzip
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

PLACE = Path(__file__).parent
STEP = 5  # pixels between those of the results that are kept: no multiple of a level's, so that all are met
EVERY = 101  # numbers between those of a sample: prime, so that all channels are met
MARGIN = 4  # feature pixels around those that local filters are made for
# Top, left and side of where the local module is looked at. At levels 3 and 1 it is in a corner, for the zeros outside;
# at level 1 in the one where the regulariser matters most.
LOCAL = {3: (22, 0, 10), 2: (12, 9, 12), 1: (0, 52, 12)}
LOCAL_MAPS = {
    "target": "feat{}_target",
    "source": "feat{}_source_warped",
    "init": "lgocor{}_init",
    "filter": "lgocor{}_filter",
    "corr": "corr{}",
    "plain": "unc{}_corr",
    "features": "unc{}_corr_features",
}
LEVEL = ("flow{}", "log_var{}", "weight{}", "unc{}_raw", "unc{}_corr_features")
DECODER = ("dec{}_features", "dec{}_residual")
ABOVE = ("up{}_flow", "up{}_log_var", "up{}_weight")
# Names, the level in them, and the side of the corner that is kept, in its pixels. At level 1 a refined pixel depends
# on 33 others on each side; 42 leaves 9, and the uncertainty's decoder, which sees 3, leaves 6.
CORNERS: tuple[tuple[tuple[str, ...], int, int], ...] = (
    (("feat{}_target", "feat{}_source", "ggocor_scores", "dec{}_features", "dec{}_map", *LEVEL), 4, 16),
    ((*LEVEL, *DECODER), 3, 32),
    ((*LEVEL, *DECODER), 2, 20),
    (LEVEL, 1, 12),
    (DECODER, 1, 42),
    (("corr{}",), 3, 18),
    (("corr{}",), 2, 18),
    (("corr{}",), 1, 14),
    (ABOVE, 4, 32),
    (ABOVE, 3, 32),
    (("up{}_flow",), 2, 64),
    (("up{}_log_var", "up{}_weight", "up{}_feat"), 2, 14),
)

Array = NDArray[np.float32]
Arrays = Mapping[str, Array]


def main(folder: Path) -> None:
    """Writes all of them."""
    entries = (folder / "state_dict.json").read_bytes()
    (PLACE / "state_dict.json.gz").write_bytes(gzip.compress(entries, mtime=0))
    for name in "ad":
        pair = np.load(folder / f"fixture_{name}_it3.npz")
        for picture in ("target", "source"):
            cv2.imwrite(
                str(PLACE / f"{name}_{picture}.png"), pair[picture][:, :, ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 9]
            )
        write(name, {key: pair[key][::STEP, ::STEP] for key in ("flow", "p_r", "confidence", "variance")})
    write("modules", dict(modules(np.load(folder / "debug_a_it3.npz"))))


def write(name: str, arrays: Arrays) -> None:
    np.savez_compressed(PLACE / f"{name}.npz", allow_pickle=False, **arrays)


def modules(whole: Arrays) -> Iterator[tuple[str, Array]]:
    """What is kept of the maps inside, by name."""
    for names, level, side in CORNERS:
        for name in (each.format(level) for each in names):
            yield name, whole[name][:, :, :side, :side]
    yield "unc4_corr", whole["unc4_corr"].reshape(256, 256)[:, ::8]
    for level in LOCAL:
        for name in (f"feat{level}_target", f"feat{level}_source_warped"):
            yield f"{name}_sample", whole[name].ravel()[::EVERY]
        yield from local(whole, level)


def local(whole: Arrays, level: int) -> Iterator[tuple[str, Array]]:
    """The part of the maps where the local module is looked at."""
    top, left, side = LOCAL[level]
    h, w = whole[f"feat{level}_target"].shape[2:]
    up, down = inner(top, top + side, h)
    start, end = inner(left, left + side, w)
    for name, key in LOCAL_MAPS.items():
        maps = whole[key.format(level)]
        if name in ("target", "source"):
            yield f"local{level}_{name}", maps[:, :, top : top + side, left : left + side]
        else:
            yield f"local{level}_{name}", maps[:, :: 8 if name == "init" else 1, up:down, start:end]
    yield f"local{level}_inner", np.array([up - top, down - top, start - left, end - left], np.float32)


def inner(first: int, end: int, side: int) -> tuple[int, int]:
    """Those of the pixels of a part of a map whose windows lack nothing: there is nothing outside of the map."""
    return first + MARGIN if first else 0, end - MARGIN if end < side else end


if __name__ == "__main__":
    main(Path(sys.argv[1]))
