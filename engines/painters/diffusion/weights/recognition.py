"""What a file of tensors is, from the names of its tensors: for saying so where it is not what was asked for."""

import re
from collections.abc import Iterable

# The first that matches any name. Names that several kinds share come last.
KINDS = tuple(
    (words, re.compile(pattern))
    for words, pattern in (
        ("a LoHa, a kind of LoRA that is not supported", r".*\.hada_w1_a"),
        ("a LoKr, a kind of LoRA that is not supported", r".*\.lokr_w[12]"),
        ("a Control-LoRA", r"lora_controlnet"),
        ("a LoRA", r".*[._]lora(\.|_linear_layer\.)?(_?(down|up|A|B))(\.|$)"),
        ("an SDXL checkpoint", r"conditioner\.embedders\."),
        ("an SD 3 checkpoint", r"(model\.diffusion_model\.)?joint_blocks\."),
        ("a Flux checkpoint", r"(model\.diffusion_model\.)?double_blocks\."),
        ("a model of Stable Diffusion", r"model\.diffusion_model\."),
        ("a ControlNet", r"control_model\.|controlnet_cond_embedding\.|input_hint_block\.|zero_convs\."),
        ("a T2I-Adapter", r"(adapter\.)?body\.\d+\.(in_conv|block1|resnets)"),
        ("a textual inversion", r"emb_params$|string_to_param\.|clip_[lg]$|<.*>$"),
        ("a UNet alone, as diffusers names it", r"(down_blocks|up_blocks|mid_block)\."),
        ("a VAE alone", r"(first_stage_model\.)?(encoder|decoder)\.(down|up|mid|conv_in)"),
        ("a text encoder alone", r"(cond_stage_model\.|text_model\.)"),
        ("one half of a TAESD, as its author published it", r"\d+\.(conv\.\d+\.)?(weight|bias)$"),
    )
)
UNKNOWN = "a file of tensors of no known kind"


def recognised(names: Iterable[str]) -> str:
    """In words what tensors of these names make up."""
    held = list(names)
    return next((words for words, pattern in KINDS if any(map(pattern.match, held))), UNKNOWN)
