"""How often PDCNet+ refines its filters, and the other choices that settings name. No torch here."""

from typing import Literal, NamedTuple

PresetName = Literal["fast", "paper", "original"]
Precision = Literal["fp32", "mixed"]
RuntimeName = Literal["auto", "torch", "onnx", "tensorrt"]
Measure = Literal["p_r", "mixture_weight"]


class Preset(NamedTuple):
    """Iterations of GOCor: at the three fine levels, once a frame, and at the coarsest, once a pair."""

    local_iterations: int
    global_iterations: int


PRESETS: dict[PresetName, Preset] = {
    "fast": Preset(3, 3),  # as it was trained
    "paper": Preset(7, 3),  # as its authors evaluate it
    "original": Preset(14, 6),  # as the offline experiment ran it that Warpaint grew out of
}
