"""PDCNet+, the network: dense flow between two pictures, with a mixture of two Laplace densities for its error.

Sources: PDC-Net (Truong et al., CVPR 2021) and PDC-Net+ (TPAMI 2023) for the mixture and its confidence; GOCor (Truong
et al., NeurIPS 2020) for the filters; GLU-Net (Truong et al., CVPR 2020) for the four levels on two resolutions. It was
written from the papers and from a description of the layers, not from the authors' program.

The flow lies on the grid of the *target*, the current frame, and points into the *source*, the reference: what is seen
at (x, y) of the target is seen at (x + u, y + v) of the source. (The papers call the target "reference" and the source
"query".) Channel 0 is x, channel 1 is y. At levels 4 and 3 flow is in pixels of the picture at 256x256, at levels 2 and
1 in pixels of the picture at its rounded size, nowhere in pixels of a feature map.

Tensors are [N, C, H, W] float32 unless said otherwise, pictures RGB, and items of a batch know nothing of one another.
The parts have the names of the authors' checkpoint, which loads with strict=True. Evaluation only.

In reading order: input, pyramids, correlation by tiles, the two GOCor modules, decoders, the network, output.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, TypeVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Sides of what the coarse branch sees, and the least sides of what the fine one does, pixels.
COARSE_SIDE = 256
# The fine branch's sides are multiples of this, pixels.
SIDE_STEP = 8
# Mean and deviation of the pictures that the stems were trained on, RGB, 0..1.
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

SLOPE = 0.1  # of every leaky rectifier
RADIUS = 4  # of local correlations, feature pixels
WINDOW = 2 * RADIUS + 1
SHIFTS = WINDOW * WINDOW
CHANNELS = {1: 128, 2: 256, 3: 256, 4: 512}  # of the features, by level
FEATURES_A_PIXEL = {3: 1 / 8, 2: 1 / 8, 1: 1 / 4}  # of the picture that a level sees
REFINEMENTS = {3: "dc_conv", 1: "l_dc_conv"}
LEAST = 1e-8  # a GOCor step divides by no less
# The range of the second mode's variance, square pixels: from 2 to the square of the side of what it can be off by.
LEAST_VARIANCE = 2.0
MOST_VARIANCE = {4: 256.0**2, 3: 256.0**2, 2: 520.0**2, 1: 520.0**2}


ONEDNN: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
Batch = TypeVar("Batch", "Pyramids", "Filters")


def _on_cpu(tensor: Tensor) -> bool:
    """Whether a CPU computes this now: then it is done as suits its caches. Graphs are traced as suits a GPU."""
    return tensor.device.type == "cpu" and not torch.compiler.is_exporting()


# --- Input ------------------------------------------------------------------------------------------------------------


def rounded_side(side: int) -> int:
    """The side at which the fine branch sees a side of the target, pixels."""
    return COARSE_SIDE if side < COARSE_SIDE else side - side % SIDE_STEP


def rounded(size: tuple[int, int]) -> tuple[int, int]:
    """The size (W, H) at which the fine branch sees pictures of this size (W, H)."""
    return rounded_side(size[0]), rounded_side(size[1])


class Inputs(NamedTuple):
    """A picture as the two branches see it, normalised."""

    fine: Tensor  # [N, 3, H', W']
    coarse: Tensor  # [N, 3, 256, 256]


def inputs(pictures: Tensor, size: tuple[int, int]) -> Inputs:
    """Pictures [N, 3, H, W], RGB, 0..255 of any type, as the branches see them.

    size: the target's, rounded, (W', H'), whatever that of the pictures is.
    """
    pictures = pictures.float()
    mean = pictures.new_tensor(MEAN).view(3, 1, 1)
    deviation = pictures.new_tensor(DEVIATION).view(3, 1, 1)

    def seen(width: int, height: int) -> Tensor:
        return (F.interpolate(pictures, (height, width), mode="area") / 255 - mean) / deviation

    return Inputs(seen(*size), seen(COARSE_SIDE, COARSE_SIDE))


# --- Pyramids ---------------------------------------------------------------------------------------------------------


class Pyramids(NamedTuple):
    """The features of one picture, which may be target or source. They fit those of the same rounded size alone."""

    f1: Tensor  # [N, 128, H'/4, W'/4]
    f2: Tensor  # [N, 256, H'/8, W'/8]
    f3: Tensor  # [N, 256, 32, 32], of the coarse branch
    f4: Tensor  # [N, 512, 16, 16], of the coarse branch


class Stem(nn.Module):
    """The first blocks of VGG-16; features are what comes out of a block, after its pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.level_0 = nn.Sequential(_conv(3, 64), nn.ReLU(inplace=True))
        self.level_1 = nn.Sequential(_conv(64, 64), nn.ReLU(inplace=True), nn.MaxPool2d(2))
        self.level_2 = _block(64, 128, convolutions=2)
        self.level_3 = _block(128, 256, convolutions=3)
        self.level_4 = _block(256, 512, convolutions=3)

    def forward(self, picture: Tensor, *, blocks: int) -> tuple[Tensor, Tensor]:
        """Pictures [N, 3, H, W] to what comes out of the last two of so many blocks.

        On a CPU with oneDNN the layout stays what convolutions work in: the same bits, without two changes of layout
        for each, which are a sixth of the time.
        """
        laid_out = _on_cpu(picture) and picture.dtype == torch.float32 and ONEDNN
        before, z = picture, picture.to_mkldnn() if laid_out else picture
        for block in list(self.children())[:blocks]:
            before = z
            for layer in block.children():
                z = _in_layout(layer, z) if laid_out and isinstance(layer, nn.Conv2d) else layer(z)
        return (before.to_dense(), z.to_dense()) if laid_out else (before, z)


def _in_layout(layer: nn.Conv2d, z: Tensor) -> Tensor:
    bias = None if layer.bias is None else layer.bias.to_mkldnn()
    return F.conv2d(z, layer.weight.to_mkldnn(), bias, padding=1)


def _conv(inward: int, outward: int) -> nn.Conv2d:
    return nn.Conv2d(inward, outward, 3, padding=1)


def _block(inward: int, outward: int, *, convolutions: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for number in range(convolutions):
        layers += [_conv(outward if number else inward, outward), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, nn.MaxPool2d(2))


def normalised(features: Tensor) -> Tensor:
    """Features of length one over the channels."""
    return features / torch.sqrt((features * features).sum(1, keepdim=True) + 1e-6)


# --- Warping and resizing ---------------------------------------------------------------------------------------------


def warped(features: Tensor, flow: Tensor, scale: float) -> Tensor:
    """Source features where the flow [N, 2, h, w] sees them, zero outside; scale: feature pixels a pixel of flow."""
    h, w = flow.shape[2:]
    x = torch.arange(w, dtype=flow.dtype, device=flow.device).view(1, 1, w)
    y = torch.arange(h, dtype=flow.dtype, device=flow.device).view(1, h, 1)
    across = 2 * (x + scale * flow[:, 0]) / max(w - 1, 1) - 1
    down = 2 * (y + scale * flow[:, 1]) / max(h - 1, 1) - 1
    return F.grid_sample(features, torch.stack((across, down), 3), padding_mode="zeros", align_corners=True)


def resized(maps: Tensor, height: int, width: int) -> Tensor:
    """Maps [N, C, h, w] on another grid, bilinear."""
    return F.interpolate(maps, (height, width), mode="bilinear", align_corners=False)


def rectified(z: Tensor) -> Tensor:
    """The leaky rectifier."""
    return F.leaky_relu(z, SLOPE)


# --- Local correlation by tiles ---------------------------------------------------------------------------------------
#
# A map is cut into tiles. The pixels of a tile are correlated with the whole window that holds what any of them needs,
# 4 pixels more on each side, so that the sums of 81 shifted products become matrix products. A pixel uses 81 entries of
# its row of scores; the tables of the filters' optimisation are zero at the others.


class Tile(NamedTuple):
    """The shape of tiles, feature pixels; each side divides 8."""

    rows: int
    columns: int

    @property
    def window(self) -> tuple[int, int]:
        """Rows and columns of what the pixels of a tile see."""
        return self.rows + 2 * RADIUS, self.columns + 2 * RADIUS

    def covering(self, h: int, w: int) -> tuple[int, int]:
        """Tiles down and across that cover a map."""
        return -(-h // self.rows), -(-w // self.columns)


# The smaller wastes less of its window, which pays where what is computed at once stays in a cache; the larger has
# fewer, larger products, and windows that overlap less: with it ONNX Runtime takes a fifth less for a match. On a GPU
# neither was measured.
SMALL_TILE, LARGE_TILE = Tile(4, 8), Tile(8, 8)


def padded(features: Tensor, tile: Tile) -> Tensor:
    """A map [N, C, h, w] as [N, h', w', C]: zeros for what windows see outside of it and what tiles lack."""
    h, w = features.shape[2:]
    down, across = tile.covering(h, w)
    below, right = down * tile.rows - h + RADIUS, across * tile.columns - w + RADIUS
    return F.pad(features.permute(0, 2, 3, 1), (0, 0, RADIUS, right, RADIUS, below))


def tiles(around: Tensor, tile: Tile) -> Tensor:
    """The tiles of a padded map: [N, down, across, pixels of a tile, C]."""
    inner = around[:, RADIUS:-RADIUS, RADIUS:-RADIUS]
    n, h, w, channels = inner.shape
    cut = inner.reshape(n, h // tile.rows, tile.rows, w // tile.columns, tile.columns, channels)
    return cut.transpose(2, 3).flatten(3, 4)


def windows(around: Tensor, tile: Tile) -> Tensor:
    """The windows of a padded map: [N, down, across, pixels of a window, C]."""
    n, h, w, channels = around.shape
    down, across = (h - 2 * RADIUS) // tile.rows, (w - 2 * RADIUS) // tile.columns
    blocks = around.reshape(n, h // tile.rows, tile.rows, w // tile.columns, tile.columns, channels)
    joined = torch.cat([blocks[:, k : k + down] for k in range(tile.window[0] // tile.rows)], 2)
    joined = torch.cat([joined[:, :, :, k : k + across] for k in range(tile.window[1] // tile.columns)], 4)
    return joined.transpose(2, 3).flatten(3, 4)


def untiled(values: Tensor, tile: Tile, h: int, w: int) -> Tensor:
    """Values [N, down, across, pixels of a tile, C] of each pixel as a map [N, C, h, w]."""
    n, down, across, _, channels = values.shape
    cut = values.reshape(n, down, across, tile.rows, tile.columns, channels)
    laid = cut.permute(0, 5, 1, 3, 2, 4).reshape(n, channels, down * tile.rows, across * tile.columns)
    return laid[:, :, :h, :w]


def places(tile: Tile) -> Tensor:
    """Where a pixel's 81 shifts, dy slowest, lie in its window: [pixels of a tile, 81] int64."""
    ty, tx = torch.arange(tile.rows).view(-1, 1, 1, 1), torch.arange(tile.columns).view(1, -1, 1, 1)
    dy, dx = torch.arange(WINDOW).view(1, 1, -1, 1), torch.arange(WINDOW).view(1, 1, 1, -1)
    return ((ty + dy) * tile.window[1] + tx + dx).reshape(tile.rows * tile.columns, SHIFTS)


def bands(around: Tensor, tile: Tile) -> list[Tensor]:
    """A padded map in parts that are computed one after another: rows of tiles on a CPU, whose caches they fit into.

    Where a graph is traced, and on a GPU, it is one part.
    """
    if not _on_cpu(around):
        return [around]
    seen = tile.window[0]
    return [around[:, top : top + seen] for top in range(0, around.shape[1] - 2 * RADIUS, tile.rows)]


# --- GOCor ------------------------------------------------------------------------------------------------------------
#
# A correlation is made robust by putting filters in place of the target's features: a few steps of steepest descent
# make them answer in a learned way, sharply at their own place and hardly elsewhere, to the target itself.


class Radial(nn.Module):
    """A learned function of distance: linear between ten knots, half a feature pixel apart, constant beyond."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(1, 10, 1, 1))

    def forward(self, distance: Tensor) -> Tensor:
        """Its values at distances of any shape, feature pixels."""
        t = distance / 0.5
        knots = [torch.clamp(1 - torch.abs(t - k), min=0) for k in range(9)]
        knots.append(torch.clamp(1 + (t - 9), 0, 1))
        return (torch.stack(knots, -1) * self.weight.flatten()).sum(-1)


class Optimizer(nn.Module):
    """What both modules' descent has learned: its step, its regulariser, and what is wanted at which distance."""

    def __init__(self) -> None:
        super().__init__()
        self.log_step_length = nn.Parameter(torch.empty(1))
        self.filter_reg = nn.Parameter(torch.empty(1))
        self.label_map_predictor = Radial()
        self.spatial_weight_predictor = Radial()
        self.target_mask_predictor = nn.Sequential(Radial(), nn.Sigmoid())

    def step_length(self) -> float:
        """How far a step goes, as a share of the one that a quadratic would want."""
        return torch.exp(self.log_step_length).item()

    def regulariser(self) -> float:
        """The weight of the filters' own length."""
        return torch.clamp(self.filter_reg**2, min=1e-10).item()

    def tables(self, distance: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """a, b and u at these distances: the slope of the weighted response to scores s is a sign(s) + b.

        The weighted residual is s times that slope, less u. GOCor, its objective on the target.
        """
        wanted = self.label_map_predictor(distance)
        weight = self.spatial_weight_predictor(distance)
        mask = self.target_mask_predictor(distance)
        return weight * (1 - mask) / 2, weight * (1 + mask) / 2, weight * wanted


class Regulariser(nn.Module):
    """GOCor's four-dimensional convolution of scores between positions of the target (i) and of the source (j)."""

    def __init__(self) -> None:
        super().__init__()
        self.weight1 = nn.Parameter(torch.empty(16, 1, 3, 3))
        self.weight2 = nn.Parameter(torch.empty(16, 16, 3, 3))

    def forward(self, scores: Tensor) -> Tensor:
        """[N, i, j] to [N, j, i, 16]: first over j, then over i."""
        over_j = _convolved(scores.unsqueeze(3), self.weight1)
        return _convolved(over_j.transpose(1, 2), self.weight2)

    def adjoint(self, values: Tensor) -> Tensor:
        """[N, j, i, 16] to [N, i, j], as plain convolutions: some backends compute transposed ones wrong."""
        over_i = _convolved(values, _turned(self.weight2))
        return _convolved(over_i.transpose(1, 2), _turned(self.weight1)).squeeze(3)


def _convolved(planes: Tensor, weight: Tensor) -> Tensor:
    """Planes [N, 256, 16 x 16, channels], each convolved alone. Channels last: three times as quick on a CPU."""
    n, many, _, channels = planes.shape
    images = planes.reshape(n * many, 16, 16, channels).permute(0, 3, 1, 2)
    done = F.conv2d(images, weight.contiguous(memory_format=torch.channels_last), padding=1)
    return done.permute(0, 2, 3, 1).reshape(n, many, 256, -1)


def _turned(weight: Tensor) -> Tensor:
    return weight.transpose(0, 1).flip(2, 3)


class GlobalInitializer(nn.Module):
    """What the global module's first filters are weighed by."""

    def __init__(self) -> None:
        super().__init__()
        self.target_fg = nn.Parameter(torch.empty(512))
        self.target_bg = nn.Parameter(torch.empty(512))

    def forward(self, x: Tensor) -> Tensor:
        """The first filters [N, 256, 512], one a row, of the target [N, 512, 256]: GOCor, its filter initializer.

        By what of each position is at right angles to the mean of all: the determinants of the textbook's form are
        differences of nearly equal numbers, and lose half of the digits.
        """
        mean = x.mean(2, keepdim=True)
        common, both = (mean * mean).sum(1, keepdim=True), (x * mean).sum(1, keepdim=True)
        apart = x - both / torch.clamp(common, min=torch.finfo(x.dtype).tiny) * mean
        left = (apart * apart).sum(1, keepdim=True)
        fg, bg = self.target_fg.view(1, -1, 1), self.target_bg.view(1, -1, 1)
        filters = fg * common * apart - bg * (both * apart - left * mean)
        return (filters / torch.clamp(common * left, min=1e-6)).transpose(1, 2)


class GlobalOptimizer(Optimizer):
    """The global module's descent: it also keeps the scores with the source smooth in four dimensions."""

    def __init__(self) -> None:
        super().__init__()
        self.reg_layer = Regulariser()


class GlobalGOCor(nn.Module):
    """Scores of all positions of the source for each position of the target, both 16x16. GOCor, global."""

    a: Tensor  # of Optimizer.tables: [256, 256], target by target
    b: Tensor
    u: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.filter_initializer = GlobalInitializer()
        self.filter_optimizer = GlobalOptimizer()

    def settle(self) -> None:
        """Computes what depends on the weights alone."""
        side = torch.arange(16.0)
        at = torch.stack(torch.meshgrid(side, side, indexing="ij"), -1).reshape(256, 2)
        distance = (at[:, None] - at[None]).square().sum(-1).sqrt()
        _keep(self, self.filter_optimizer.tables(distance))
        self.step_length = self.filter_optimizer.step_length()
        self.rho = self.filter_optimizer.regulariser()

    def forward(self, target: Tensor, source: Tensor, iterations: int) -> Tensor:
        """Normalised features [N, 512, 16, 16] to scores [N, 256, 16, 16]: channels are the source's positions."""
        scores = self.optimised(target.flatten(2), source.flatten(2), iterations)
        return scores.transpose(1, 2).reshape(-1, 256, 16, 16)

    def optimised(self, x: Tensor, q: Tensor, iterations: int) -> Tensor:
        """The scores [N, i, j] of the optimised filters, for target and source [N, 512, 256] each."""
        smooth, adjoint = self.filter_optimizer.reg_layer, self.filter_optimizer.reg_layer.adjoint
        w = self.filter_initializer(x)
        s, scores = w @ x, w @ q
        smoothed = smooth(scores)
        for number in range(iterations):
            d = self.a * torch.sign(s) + self.b
            e = d * s - self.u
            g = self.rho * w + (d * e) @ x.transpose(1, 2) + adjoint(smoothed) @ q.transpose(1, 2)
            to_target, to_source = g @ x, g @ q
            to_smoothed = smooth(to_source)
            length = (g * g).sum((1, 2), keepdim=True)
            curvature = (d * to_target).square().sum((1, 2), keepdim=True)
            curvature = curvature + to_smoothed.square().sum((1, 2, 3)).view(-1, 1, 1) + self.rho * length
            curvature = torch.clamp(curvature, min=LEAST) + 0.1 * length  # after the clamp, as it was trained
            step = self.step_length * (length / curvature)
            w, scores = w - step * g, scores - step * to_source  # all that is linear in w goes with it
            if number + 1 < iterations:
                s, smoothed = s - step * to_target, smoothed - step.unsqueeze(3) * to_smoothed
        return scores


class LocalInitializer(nn.Module):
    """What the local module's first filters are scaled by."""

    def __init__(self) -> None:
        super().__init__()
        self.scaling = nn.Parameter(torch.empty(1))


class LocalGOCor(nn.Module):
    """Filters for each pixel of the target, 9x9 wide, made from the target alone. GOCor, local.

    One set of weights for levels 3, 2 and 1.
    """

    a: Tensor  # of Optimizer.tables: [pixels of a tile, pixels of a window]
    b: Tensor
    u: Tensor
    places: Tensor  # [pixels of a tile, 81] int64

    def __init__(self) -> None:
        super().__init__()
        self.filter_initializer = LocalInitializer()
        self.filter_optimizer = Optimizer()

    def settle(self, tile: Tile) -> None:
        """Computes what depends on the weights and the shape of the tiles alone."""
        shift = torch.arange(-RADIUS, RADIUS + 1.0)
        distance = (shift[:, None].square() + shift.square()).sqrt().flatten().expand(tile.rows * tile.columns, -1)
        pixels, where = tile.rows * tile.columns, places(tile)
        seen = torch.zeros(pixels, math.prod(tile.window))
        _keep(self, tuple(seen.scatter(1, where, table) for table in self.filter_optimizer.tables(distance)))
        self.register_buffer("places", where, persistent=False)
        self.step_length = self.filter_optimizer.step_length()
        self.rho = self.filter_optimizer.regulariser()
        self.scaling = self.filter_initializer.scaling.item()
        self.tile = tile

    def forward(self, features: Tensor, iterations: int) -> Tensor:
        """The target's features [N, C, h, w] to its filters, by tiles: [N, down, across, pixels of a tile, C]."""
        around = padded(features, self.tile)
        made = [self._optimised(band, iterations) for band in bands(around, self.tile)]
        return made[0] if len(made) == 1 else torch.cat(made, 1)

    def initial(self, features: Tensor) -> Tensor:
        """The first filters of pixels [..., C]."""
        return self.scaling * features / (features.square().mean(-1, keepdim=True) + 1e-6)

    def _optimised(self, around: Tensor, iterations: int) -> Tensor:
        channels = around.shape[3]
        w = self.initial(tiles(around, self.tile))
        seen = windows(around, self.tile) / channels  # a power of two: exact
        turned = seen.transpose(-1, -2)
        rho = self.rho / channels**2
        s = w @ turned
        for number in range(iterations):
            d = self.a * torch.sign(s) + self.b
            g = (d * (d * s - self.u)) @ seen + rho * w
            towards = g @ turned
            length = (g * g).sum(-1, keepdim=True)
            curvature = (d * towards).square().sum(-1, keepdim=True) + rho * length
            step = self.step_length * (length / torch.clamp(curvature, min=LEAST))
            w = w - step * g
            if number + 1 < iterations:
                s = s - step * towards  # the scores of the new filters, without another product
        return w

    def scores(self, filters: Tensor, target: Tensor, source: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """What the filters, and the target's features themselves, give with the warped source.

        filters: of the whole map; target, source: padded. Band by band from the top, each [N, down, across, pixels of a
        tile, 81].
        """
        top = 0
        for of_target, of_source in zip(bands(target, self.tile), bands(source, self.tile), strict=True):
            own = tiles(of_target, self.tile)
            both = torch.cat((filters[:, top : top + own.shape[1]], own), 3)
            products = both @ (windows(of_source, self.tile) / of_source.shape[3]).transpose(-1, -2)
            top += own.shape[1]
            pixels = own.shape[3]
            yield self._picked(products[:, :, :, :pixels]), self._picked(products[:, :, :, pixels:])

    def _picked(self, scores: Tensor) -> Tensor:
        return torch.gather(scores, -1, self.places.expand(*scores.shape[:3], -1, -1))


def _keep(module: nn.Module, tables: tuple[Tensor, ...]) -> None:
    """Tables as constants of the module, beside its weights."""
    for name, table in zip("abu", tables, strict=True):
        module.register_buffer(name, table, persistent=False)


# --- Decoders ---------------------------------------------------------------------------------------------------------


def _cb(inward: int, outward: int, *, padding: int = 1, dilation: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(inward, outward, 3, padding=padding, dilation=dilation)
    return nn.Sequential(convolution, nn.BatchNorm2d(outward))


def _cbl(inward: int, outward: int, *, padding: int = 1, dilation: int = 1) -> nn.Sequential:
    return _cb(inward, outward, padding=padding, dilation=dilation).append(nn.LeakyReLU(SLOPE))


def _skip(inward: int, outward: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inward, outward, 1, bias=False), nn.BatchNorm2d(outward))


class Decoder(nn.Module):
    """From a correlation, and what the level above found, to features and a residual flow."""

    def __init__(self, *, channels: int, head: str = "predict_flow") -> None:
        super().__init__()
        self.conv_0 = _cb(channels, 128)
        self.conv0_skip = _skip(128, 96)
        self.conv_1 = _cbl(128, 128)
        self.conv_2 = _cb(128, 96)
        self.conv2_skip = _skip(96, 32)
        self.conv_3 = _cbl(96, 64)
        self.conv_4 = _cb(64, 32)
        self.add_module(head, nn.Conv2d(32, 2, 3, padding=1))
        self._head = head

    @property
    def head(self) -> nn.Module:
        """The layer that a flow comes out of."""
        return self.get_submodule(self._head)

    def forward(self, seen: Tensor) -> tuple[Tensor, Tensor]:
        """[N, channels, h, w] to features [N, 32, h, w] and a residual [N, 2, h, w]. Skips branch off unrectified."""
        z0 = self.conv_0(seen)
        h2 = self.conv_2(self.conv_1(rectified(z0))) + self.conv0_skip(z0)
        h4 = self.conv_4(self.conv_3(rectified(h2))) + self.conv2_skip(h2)
        features = rectified(h4).float()
        return features, self.head(features)


def _refinement() -> list[nn.Module]:
    """Layers that see far: dilated convolutions over a level's features and flow. Seven of them."""
    layers: list[nn.Module] = []
    for inward, outward, dilation in ((34, 128, 1), (128, 128, 2), (128, 128, 4), (128, 96, 8), (96, 64, 16)):
        layers.append(_cbl(inward, outward, padding=dilation, dilation=dilation))
    return [*layers, _cbl(64, 32), nn.Conv2d(32, 2, 3, padding=1)]


class CorrelationUncertainty(nn.Module):
    """What the shape of one pixel's correlation tells: each is a small picture of its own."""

    def __init__(self, *, pooled: bool = False) -> None:
        super().__init__()
        self.conv_0 = _cbl(1, 32, padding=0)
        self.conv_1 = _cbl(32, 32, padding=0)
        self.conv_2 = _cbl(32, 16, padding=0)
        self.predict_uncertainty = nn.Conv2d(16, 6, 3)
        self._pooled = pooled

    def forward(self, correlations: Tensor) -> Tensor:
        """[pictures, 1, q, q] to [pictures, 6]; q is 9, or 16 if pooled."""
        z = self.conv_0(correlations)
        if self._pooled:
            z = F.max_pool2d(z, 2)
        return self.predict_uncertainty(self.conv_2(self.conv_1(z))).flatten(1)


class UncertaintyDecoder(nn.Module):
    """From all that a level knows to the raw log variance and the weights of the mixture."""

    def __init__(self, *, channels: int) -> None:
        super().__init__()
        self.conv_0 = _cbl(channels, 32)
        self.conv_1 = _cbl(32, 16)
        self.predict_uncertainty_final = nn.Conv2d(16, 3, 3, padding=1)

    def forward(self, seen: Tensor) -> Tensor:
        """[N, channels, h, w] to [N, 3, h, w]: q, and the logits of modes 0 and 1."""
        return self.predict_uncertainty_final(self.conv_1(self.conv_0(seen)))


def log_variance(q: Tensor, most: float) -> Tensor:
    """The logarithm of mode 1's variance, which lies between 2 and `most` square pixels. PDC-Net, constrained mixture.

    Not by a sigmoid: one runtime's is inexact in its tail, where this works. The exponential may be infinite.
    """
    return torch.log(LEAST_VARIANCE + (most - LEAST_VARIANCE) / (1 + torch.exp(math.log(most) - q)))


# --- The network ------------------------------------------------------------------------------------------------------


class Filters(NamedTuple):
    """The local filters of a target, by tiles: [N, down, across, pixels of a tile, C] of levels 3, 2 and 1."""

    level3: Tensor
    level2: Tensor
    level1: Tensor


class Field(NamedTuple):
    """A flow on a level's grid, and the mixture of its error."""

    flow: Tensor  # [N, 2, h, w], pixels of the picture
    log_variance: Tensor  # [N, 1, h, w], of mode 1, ln of square pixels; that of mode 0 is 0
    weights: Tensor  # [N, 2, h, w], logits of the modes


def _parts(correlation: Tensor, field: Field, extra: Tensor | None = None) -> Tensor:
    """What a decoder sees: a correlation, and the flow, features and mixture that came down from the level above."""
    nothing = torch.zeros_like(field.log_variance)
    features = [] if extra is None else [extra]
    return torch.cat((correlation, field.flow, *features, nothing, field.log_variance, field.weights), 1)


class PDCNet(nn.Module):
    """The network. local_iterations, global_iterations: how often GOCor refines its filters.

    `load_state_dict` also computes what depends on the weights alone; nothing runs before it.
    """

    def __init__(self, *, local_iterations: int, global_iterations: int, tile: Tile = SMALL_TILE) -> None:
        super().__init__()
        self.local_iterations, self.global_iterations, self.tile = local_iterations, global_iterations, tile
        self.decoder4 = Decoder(channels=258, head="final")
        self.deconv4 = nn.ConvTranspose2d(2, 2, 4, stride=2, padding=1)
        self.corr_uncertainty_decoder4 = CorrelationUncertainty(pooled=True)
        self.uncertainty_decoder4 = UncertaintyDecoder(channels=38)

        self.decoder3 = Decoder(channels=87)
        self.corr_uncertainty_decoder3 = CorrelationUncertainty()
        self.uncertainty_decoder3 = UncertaintyDecoder(channels=44)
        for number, layer in enumerate(_refinement(), 1):
            self.add_module(f"dc_conv{number}", layer)

        self.decoder2 = Decoder(channels=87)
        self.corr_uncertainty_decoder2 = CorrelationUncertainty()
        self.uncertainty_decoder2 = UncertaintyDecoder(channels=44)
        self.upfeat2 = nn.ConvTranspose2d(32, 2, 4, stride=2, padding=1)
        self.deconv2 = nn.ConvTranspose2d(2, 2, 4, stride=2, padding=1)

        self.decoder1 = Decoder(channels=89)
        self.corr_uncertainty_decoder1 = CorrelationUncertainty()
        self.uncertainty_decoder1 = UncertaintyDecoder(channels=44)
        for number, layer in enumerate(_refinement(), 1):
            self.add_module(f"l_dc_conv{number}", layer)

        self.corr = nn.ModuleDict({"corr_module": GlobalGOCor()})
        self.local_corr = LocalGOCor()
        self.pyramid_256 = Stem()
        self.pyramid = Stem()  # its level_4 is in the checkpoint, and never runs
        self.is_halved, self._inner = False, torch.float32
        self.eval().requires_grad_(False)

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """As of any module; then computes what depends on the weights alone."""
        result = super().load_state_dict(state_dict, strict=strict, assign=assign)
        self._global.settle()
        self.local_corr.settle(self.tile)
        return result

    def halved(self) -> "PDCNet":
        """Itself, with its stems, decoders and refinements in half precision.

        GOCor, which would give NaN, the variances, and all sums of flow stay in float32, and so do the layers that a
        flow comes out of: a half has steps of 0.06 pixels where the map of level 4 becomes one.
        """
        self.is_halved, self._inner = True, torch.float16
        for name, part in self.named_children():
            if name.startswith(("pyramid", "decoder", "corr_uncertainty", "dc_conv", "l_dc_conv")):
                part.half()
        for head in (*(self._decoder(level).head for level in CHANNELS), self.dc_conv7, self.l_dc_conv7):
            head.float()
        return self

    def forward(self, target: Inputs, source: Inputs) -> Field:
        """The whole, from pictures: `encode`, `prepare` and `match` one after another."""
        seen = self.encode(*target)
        return self.match(seen, self.encode(*source), self.prepare(*seen[:3]))

    def encode(self, fine: Tensor, coarse: Tensor) -> Pyramids:
        """The features of pictures as the two branches see them: see `Inputs`. Raises ValueError for other sizes."""
        _check_inputs(fine, coarse)
        f1, f2 = self.pyramid(fine.to(self._inner), blocks=4)
        f3, f4 = self.pyramid_256(coarse.to(self._inner), blocks=5)
        return Pyramids(f1.float(), f2.float(), f3.float(), f4.float())

    def prepare(self, f1: Tensor, f2: Tensor, f3: Tensor) -> Filters:
        """The local filters of a target, from its features; all its sources share them."""
        return Filters(*(self.local_corr(each, self.local_iterations) for each in (f3, f2, f1)))

    def match(self, target: Pyramids, source: Pyramids, filters: Filters) -> Field:
        """The flow from the target's grid into the source, [N, ..., H'/4, W'/4].

        On a CPU pair by pair: larger batches gain nothing there, and convolutions take other kernels for them, so that
        the last digits of a pair's flow would depend on how many others there are.
        """
        count = target.f1.shape[0]
        if count == 1 or not _on_cpu(target.f1):
            return self._matched(target, source, filters)
        each = [self._matched(*pair) for pair in zip(singles(target), singles(source), singles(filters), strict=True)]
        return Field(*(torch.cat(tensors) for tensors in zip(*each, strict=True)))

    def _matched(self, target: Pyramids, source: Pyramids, filters: Filters) -> Field:
        h, w = target.f2.shape[2:]

        # Level 4: every position with every other, on the coarse pictures.
        field, _ = self._coarsest(normalised(target.f4), normalised(source.f4))

        # Level 3: the same pictures, on a finer grid.
        above = _laid_on(field, self.deconv4(field.flow))
        field, _ = self._level(3, target.f3, source.f3, filters.level3, above)

        # Level 2: the fine pictures, whose pixels the flow is in from here on.
        enlarged = field.flow.new_tensor((SIDE_STEP * w / COARSE_SIDE, SIDE_STEP * h / COARSE_SIDE)).view(1, 2, 1, 1)
        above = _laid_on(field, resized(field.flow, h, w) * enlarged)
        field, features = self._level(2, target.f2, source.f2, filters.level2, above)

        # Level 1: twice as fine again.
        above = _laid_on(field, self.deconv2(field.flow))
        field, _ = self._level(1, target.f1, source.f1, filters.level1, above, self.upfeat2(features))
        return field

    def _coarsest(self, target: Tensor, source: Tensor) -> tuple[Field, Tensor]:
        """Level 4, from normalised features."""
        scores = rectified(self._global(target, source, self.global_iterations))
        nothing = torch.zeros_like(scores[:, :2])
        features, places = self._decoder(4)(torch.cat((scores, nothing), 1).to(self._inner))
        column, row = (torch.arange(16.0, device=scores.device).view(shape) for shape in ((1, 1, 16), (1, 16, 1)))
        x, y = ((places[:, axis] + 1) * 15 / 2 for axis in (0, 1))
        flow = 16 * torch.stack((x - column, y - row), 1)

        plain = torch.relu(target.flatten(2).transpose(1, 2) @ source.flatten(2))  # [N, target, source]
        plain = plain / torch.sqrt(plain.square().sum(2, keepdim=True) + 1e-6)
        uncertain = self.corr_uncertainty_decoder4(plain.reshape(-1, 1, 16, 16).to(self._inner)).float()
        uncertain = uncertain.reshape(-1, 256, 6).transpose(1, 2).reshape(-1, 6, 16, 16)
        mixture = self.uncertainty_decoder4(torch.cat((uncertain, features), 1))
        return Field(flow, log_variance(mixture[:, :1], MOST_VARIANCE[4]), mixture[:, 1:]), features

    def _level(
        self, level: int, target: Tensor, source: Tensor, filters: Tensor, above: Field, extra: Tensor | None = None
    ) -> tuple[Field, Tensor]:
        """One of the levels with local correlations; also its decoder's features."""
        around = padded(warped(source, above.flow, FEATURES_A_PIXEL[level]), self.tile)
        correlation, uncertain = self._correlated(level, filters, padded(target, self.tile), around)
        h, w = target.shape[2:]
        correlation, uncertain = (untiled(each, self.tile, h, w) for each in (correlation, uncertain))
        features, residual = self._decoder(level)(_parts(correlation, above, extra).to(self._inner))
        refined = features
        if level in REFINEMENTS:
            more, further = self._refined(level, torch.cat((features, residual + above.flow), 1))
            refined, residual = features + more, residual + further
        flow = above.flow + residual
        mixture = self.get_submodule(f"uncertainty_decoder{level}")(
            torch.cat((uncertain, refined, torch.zeros_like(above.log_variance), *above[1:], above.flow), 1)
        )
        return Field(flow, log_variance(mixture[:, :1], MOST_VARIANCE[level]), mixture[:, 1:]), features

    def _correlated(self, level: int, filters: Tensor, target: Tensor, source: Tensor) -> tuple[Tensor, Tensor]:
        """The filters' correlation with the warped source, 81, and what the plain one tells, 6, of each pixel of tiles.

        Band by band, so that the many small pictures that a pixel's correlation is stay in a CPU's cache.
        """
        uncertainty = self.get_submodule(f"corr_uncertainty_decoder{level}")
        correlations, uncertain = [], []
        for correlation, plain in self.local_corr.scores(filters, target, source):
            correlations.append(rectified(correlation))
            pictures = rectified(plain).reshape(-1, 1, WINDOW, WINDOW).to(self._inner)
            uncertain.append(uncertainty(pictures).float().reshape(*plain.shape[:-1], 6))
        return torch.cat(correlations, 1), torch.cat(uncertain, 1)

    def _refined(self, level: int, seen: Tensor) -> tuple[Tensor, Tensor]:
        layers = [self.get_submodule(f"{REFINEMENTS[level]}{number}") for number in range(1, 8)]
        z = seen.to(self._inner)
        for layer in layers[:-1]:
            z = layer(z)
        features = z.float()
        return features, layers[-1](features)

    @property
    def _global(self) -> GlobalGOCor:
        return cast(GlobalGOCor, self.corr["corr_module"])

    def _decoder(self, level: int) -> Decoder:
        return cast(Decoder, self.get_submodule(f"decoder{level}"))


def singles(batch: Batch) -> list[Batch]:
    """The items of a batch, as batches of one."""
    return [type(batch)(*(tensor[i : i + 1] for tensor in batch)) for i in range(batch[0].shape[0])]


def _laid_on(field: Field, flow: Tensor) -> Field:
    """A level's mixture on the finer grid of this flow. The logarithm is what is interpolated, and it is not scaled."""
    return Field(flow, *(resized(each, *flow.shape[2:]) for each in field[1:]))


def _check_inputs(fine: Tensor, coarse: Tensor) -> None:
    h, w = fine.shape[2:]
    if min(h, w) < COARSE_SIDE or h % SIDE_STEP or w % SIDE_STEP:
        raise ValueError(f"pictures must be multiples of {SIDE_STEP} and at least {COARSE_SIDE}, not {w}x{h}")
    if coarse.shape != (fine.shape[0], 3, COARSE_SIDE, COARSE_SIDE) or fine.shape[1] != 3:
        shapes = f"{tuple(fine.shape)} and {tuple(coarse.shape)}"
        raise ValueError(f"inputs must be [N, 3, H, W] and [N, 3, {COARSE_SIDE}, {COARSE_SIDE}], not {shapes}")


# --- Output -----------------------------------------------------------------------------------------------------------

# The most that p_R can be at R = 1 pixel: all weight on the accurate mode, (1 - exp(-sqrt 2)) squared.
MOST_P_R = (1 - math.exp(-math.sqrt(2))) ** 2


def finished(field: Field, size: tuple[int, int]) -> Field:
    """A field of level 1 on the grid of the target as it was given, (W, H), in its pixels.

    The variance stays in pixels of the rounded picture.
    """
    h, w = field.flow.shape[2:]
    width, height = size
    scale = field.flow.new_tensor((width / (4 * w), height / (4 * h))).view(1, 2, 1, 1)
    flow, *mixture = (resized(each, height, width) for each in field)
    return Field(flow * scale, *mixture)


def mixture_weight(field: Field) -> Tensor:
    """The weight of the accurate mode, [N, H, W], 0..1. The offline experiment took this for a confidence."""
    return torch.softmax(field.weights, 1)[:, 0]


def p_r(field: Field, radius: float = 1.0) -> Tensor:
    """The probability that both components of the flow are right to within so many pixels: [N, H, W].

    Never more than MOST_P_R at one pixel. PDC-Net, its confidence.
    """
    accurate, coarse = torch.softmax(field.weights, 1).unbind(1)
    within = math.sqrt(2) * radius
    coarse_within = 1 - torch.exp(-within / torch.exp(field.log_variance[:, 0] / 2))
    return accurate * (1 - math.exp(-within)) ** 2 + coarse * coarse_within.square()


def variance(field: Field) -> Tensor:
    """The mean variance of the mixture, [N, H, W], square pixels."""
    accurate, coarse = torch.softmax(field.weights, 1).unbind(1)
    return accurate + coarse * torch.exp(field.log_variance[:, 0])
