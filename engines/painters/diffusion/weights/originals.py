"""The tensors of an original checkpoint, by name: what a single file must hold, as its configuration says.

Original means Stability's code, whose names most single files use; diffusers and transformers name them otherwise. The
names are listed here, and not taken from models that are built for it, so that nothing heavy is needed to say what is
missing. Parameters have a weight, and mostly a bias: `both`.
"""

from collections.abc import Iterator

from .configuration import ControlNetConfig, TextConfig, UNetConfig, VaeConfig

UNET = "model.diffusion_model."
VAE = "first_stage_model."
TEXT = "cond_stage_model."
CLIP = "cond_stage_model.transformer."  # OpenAI's, of SD 1.x
OPEN_CLIP = "cond_stage_model.model."  # of SD 2.x
CONTROL = "control_model."
HINT_LAYERS = 14  # of a ControlNet's hint: every other one has parameters, from 0 to this one


def renamed(name: str) -> str:
    """The usual name of a tensor: some merges leave out the `text_model` in those of CLIP."""
    if name.startswith(CLIP) and not name.startswith(f"{CLIP}text_model."):
        return f"{CLIP}text_model.{name.removeprefix(CLIP)}"
    return name


def both(*modules: str) -> Iterator[str]:
    """The names of the weight and the bias of each of these modules."""
    for module in modules:
        yield f"{module}.weight"
        yield f"{module}.bias"


def unet(config: UNetConfig) -> Iterator[str]:
    """The names of a UNet's tensors."""
    yield from encoder(config, UNET)
    last = len(config.up_block_types) - 1
    for level, kind in enumerate(config.up_block_types):
        attends = kind.startswith("CrossAttn")
        for layer in range(config.layers_per_block + 1):
            block = f"{UNET}output_blocks.{level * (config.layers_per_block + 1) + layer}"
            # What comes from the encoder is joined to what comes from below, so the width changes in each layer.
            yield from residual(f"{block}.0", widens=True)
            yield from attention(f"{block}.1") if attends else ()
            if layer == config.layers_per_block and level != last:
                yield from both(f"{block}.{1 + attends}.conv")
    yield from both(f"{UNET}out.0", f"{UNET}out.2")


def controlnet(config: ControlNetConfig) -> Iterator[str]:
    """The names of a ControlNet's tensors: a UNet's first half, and what leads in and out of it."""
    yield from encoder(config, CONTROL)
    levels = len(config.down_block_types)
    outputs = 1 + levels * config.layers_per_block + levels - 1
    yield from both(*(f"{CONTROL}zero_convs.{number}.0" for number in range(outputs)), f"{CONTROL}middle_block_out.0")
    yield from both(*(f"{CONTROL}input_hint_block.{number}" for number in range(0, HINT_LAYERS + 1, 2)))


def encoder(config: UNetConfig, prefix: str) -> Iterator[str]:
    """The names of the tensors of a UNet's first half and its middle."""
    yield from both(f"{prefix}time_embed.0", f"{prefix}time_embed.2", f"{prefix}input_blocks.0.0")
    number, width = 1, config.block_out_channels[0]
    for level, (kind, wide) in enumerate(zip(config.down_block_types, config.block_out_channels, strict=True)):
        for _ in range(config.layers_per_block):
            yield from residual(f"{prefix}input_blocks.{number}.0", widens=width != wide)
            yield from attention(f"{prefix}input_blocks.{number}.1") if kind.startswith("CrossAttn") else ()
            number, width = number + 1, wide
        if level + 1 < len(config.down_block_types):
            yield from both(f"{prefix}input_blocks.{number}.0.op")
            number += 1
    yield from residual(f"{prefix}middle_block.0", widens=False)
    yield from attention(f"{prefix}middle_block.1")
    yield from residual(f"{prefix}middle_block.2", widens=False)


def residual(block: str, *, widens: bool) -> Iterator[str]:
    """The names of the tensors of a residual block of a UNet."""
    yield from both(*(f"{block}.{part}" for part in ("in_layers.0", "in_layers.2", "emb_layers.1")))
    yield from both(*(f"{block}.{part}" for part in ("out_layers.0", "out_layers.3")))
    yield from both(f"{block}.skip_connection") if widens else ()


def attention(block: str) -> Iterator[str]:
    """The names of the tensors of a transformer block of a UNet."""
    inner = f"{block}.transformer_blocks.0"
    yield from both(f"{block}.norm", f"{block}.proj_in", f"{block}.proj_out")
    for each in (f"{inner}.attn1", f"{inner}.attn2"):
        yield from (f"{each}.{part}.weight" for part in ("to_q", "to_k", "to_v"))
        yield from both(f"{each}.to_out.0")
    yield from both(*(f"{inner}.{part}" for part in ("ff.net.0.proj", "ff.net.2", "norm1", "norm2", "norm3")))


def vae(config: VaeConfig) -> Iterator[str]:
    """The names of a VAE's tensors."""
    yield from both(f"{VAE}quant_conv", f"{VAE}post_quant_conv")
    for half in ("encoder", "decoder"):
        yield from both(*(f"{VAE}{half}.{part}" for part in ("conv_in", "norm_out", "conv_out")))
        yield from vae_residual(f"{VAE}{half}.mid.block_1", widens=False)
        yield from both(*(f"{VAE}{half}.mid.attn_1.{part}" for part in ("norm", "q", "k", "v", "proj_out")))
        yield from vae_residual(f"{VAE}{half}.mid.block_2", widens=False)
    widths, levels = config.block_out_channels, range(len(config.block_out_channels))
    for level in levels:
        before = widths[max(0, level - 1)]
        yield from vae_level(f"{VAE}encoder.down.{level}", config.layers_per_block, widens=before != widths[level])
        yield from both(f"{VAE}encoder.down.{level}.downsample.conv") if level != levels[-1] else ()
    for level in levels:  # counted from the picture, so the decoder goes through them backwards
        before = widths[min(levels[-1], level + 1)]
        yield from vae_level(f"{VAE}decoder.up.{level}", config.layers_per_block + 1, widens=before != widths[level])
        yield from both(f"{VAE}decoder.up.{level}.upsample.conv") if level != 0 else ()


def vae_level(level: str, layers: int, *, widens: bool) -> Iterator[str]:
    """The names of the tensors of one level's residual blocks; the first may widen."""
    for layer in range(layers):
        yield from vae_residual(f"{level}.block.{layer}", widens=widens and layer == 0)


def vae_residual(block: str, *, widens: bool) -> Iterator[str]:
    """The names of the tensors of a residual block of a VAE."""
    yield from both(*(f"{block}.{part}" for part in ("norm1", "conv1", "norm2", "conv2")))
    yield from both(f"{block}.nin_shortcut") if widens else ()


def clip(config: TextConfig) -> Iterator[str]:
    """The names of the tensors of OpenAI's text encoder."""
    model = f"{CLIP}text_model"
    yield from (f"{model}.embeddings.{kind}_embedding.weight" for kind in ("token", "position"))
    yield from both(f"{model}.final_layer_norm")
    parts = ("layer_norm1", "layer_norm2", "mlp.fc1", "mlp.fc2")
    attends = tuple(f"self_attn.{part}_proj" for part in ("q", "k", "v", "out"))
    for layer in range(config.num_hidden_layers):
        yield from both(*(f"{model}.encoder.layers.{layer}.{part}" for part in (*parts, *attends)))


def open_clip(config: TextConfig) -> Iterator[str]:
    """The names of the tensors of OpenCLIP's text encoder, but for its last layers, which SD 2.x does not use."""
    yield from (f"{OPEN_CLIP}{name}" for name in ("token_embedding.weight", "positional_embedding"))
    yield from both(f"{OPEN_CLIP}ln_final")
    for layer in range(config.num_hidden_layers):
        block = f"{OPEN_CLIP}transformer.resblocks.{layer}"
        yield from (f"{block}.attn.in_proj_weight", f"{block}.attn.in_proj_bias")
        yield from both(*(f"{block}.{part}" for part in ("attn.out_proj", "ln_1", "ln_2", "mlp.c_fc", "mlp.c_proj")))
