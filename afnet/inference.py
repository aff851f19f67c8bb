"""Making a trained network fast without changing what it computes.

`optimize_for_inference` replaces modules by frozen ones: batch-norms folded into convolutions, channels-last maps, sums
and activations in place, gathers and scatters of whole pixels. A frozen block may overwrite its input where it owns it,
that is, where nothing reads the input after it.
"""

from __future__ import annotations

import copy
from functools import singledispatch
from itertools import pairwise
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from afnet.blocks import Block, Bottleneck, FocalBlock, InvertedResidual, SqueezeExcite
from afnet.contract import VideoModel, lay_out_channels_last
from afnet.execution import add_rows_, put_rows_, take_rows
from afnet.fused import Activation, FrozenGate, FrozenStem, FusedConv
from afnet.module import AFModule, FusionGate
from afnet.shift import FRACTION, shift_, shift_sources
from afnet.spatial import CellBottleneck, SpatialFocalBlock, bias_of, gathered_3x3, kernel_serves

Model = TypeVar("Model", bound=VideoModel)


def optimize_for_inference(model: Model) -> Model:
    """A copy for evaluation alone that gives the same logits faster.

    Logits stay within rounding (1e-3), decisions too but for exact ties. The copy takes clips of any layout; the first
    convolution turns the maps channels-last. It keeps no gradient and cannot be trained: its batch-norms are gone. Its
    modules have other names, and hooks on those that are replaced are lost. Optimise before casting to half precision:
    folding rounds.
    """
    own = copy.deepcopy(model)
    if own.training:  # else the knobs of the inference point stay as they are
        own.eval()
    fast = freeze(own)
    assert isinstance(fast, type(model))
    fast.optimised = True
    for module in fast.modules():  # not by eval(), which would set the model's knobs
        module.training = False
    for parameter in fast.parameters():
        parameter.requires_grad_(False)
    return lay_out_channels_last(fast)


@singledispatch
def freeze(module: nn.Module) -> nn.Module:
    """The frozen form of a module in evaluation: another module, or the same one with frozen children.

    Kinds of modules register their own form; all others get batch-norms folded into the convolutions just before them.
    """
    for name, child in list(module.named_children()):
        setattr(module, name, freeze(child))
    for (name, conv), (norm_name, norm) in pairwise(list(module.named_children())):
        if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            setattr(module, name, nn.utils.fuse_conv_bn_eval(conv, norm))
            setattr(module, norm_name, nn.Identity())
    return module


@freeze.register
def _(chain: nn.Sequential) -> nn.Module:
    frozen: list[nn.Module] = []
    for module in chain:
        last = frozen[-1] if frozen else None
        if isinstance(module, nn.BatchNorm2d) and isinstance(last, FusedConv) and last.activation == "none":
            frozen[-1] = FusedConv(last.conv, module)
        elif isinstance(module, (nn.ReLU, nn.Hardswish)) and isinstance(last, FusedConv):
            last.activation = _activation(module)
        elif not isinstance(module, (nn.Identity, nn.Dropout)):
            frozen.append(FusedConv(module) if isinstance(module, nn.Conv2d) else freeze(module))
    _own(frozen[1:])
    return (FrozenStem if any(isinstance(module, nn.MaxPool2d) for module in frozen) else nn.Sequential)(*frozen)


@freeze.register
def _(module: AFModule) -> nn.Module:
    freeze.dispatch(nn.Module)(module)
    _own([*module.ample[1:], *module.focal[1:], module.fusion])
    return module


freeze.register(FusionGate, FrozenGate)


def _own(modules: list[nn.Module]) -> None:
    """Let blocks overwrite their inputs."""
    for module in modules:
        if isinstance(module, FrozenBlock):
            module.owned = True


def _activation(module: nn.Module) -> Activation:
    return "hardswish" if isinstance(module, nn.Hardswish) else "relu"


@freeze.register(Bottleneck)
class FrozenBottleneck(nn.Module):
    """F of AF-ResNets in three convolutions; `forward(x, add, activation)` is `act(F(x) + add)`, as in FusedConv."""

    def __init__(self, source: Bottleneck) -> None:
        super().__init__()
        self.conv1 = FusedConv(source.conv1, source.bn1, "relu")
        self.conv2 = FusedConv(source.conv2, source.bn2, "relu")
        self.conv3 = FusedConv(source.conv3, source.bn3)

    def forward(self, x: Tensor, add: Tensor | None = None, activation: Activation = "none") -> Tensor:
        return self.conv3(self.conv2(self.conv1(x)), add, activation)


@freeze.register(InvertedResidual)
class FrozenInvertedResidual(nn.Module):
    """F of AF-MobileNetV3, with `add` and `activation` as in FusedConv."""

    def __init__(self, source: InvertedResidual) -> None:
        super().__init__()
        activation = _activation(source.activate)
        squeezes = isinstance(source.se, SqueezeExcite)
        self.expand: nn.Module = nn.Identity()
        self.after: nn.Module = nn.Identity()
        if source.expands:
            self.expand = FusedConv(source.conv1, source.bn1, activation)
            # Squeeze-excite comes before the activation here, after it where nothing expands.
            self.depthwise = FusedConv(source.conv2, source.bn2, "none" if squeezes else activation)
            if squeezes:
                self.after = nn.Sequential(source.se, source.activate)
            self.project = FusedConv(source.conv3, source.bn3)
        else:
            self.depthwise = FusedConv(source.conv1, source.bn1, activation)
            self.after = source.se
            self.project = FusedConv(source.conv2, source.bn2)

    def forward(self, x: Tensor, add: Tensor | None = None, activation: Activation = "none") -> Tensor:
        return self.project(self.after(self.depthwise(self.expand(x))), add, activation)


@freeze.register(Block)
class FrozenBlock(Block):
    """A block whose sum and activation are part of its last convolution.

    Attributes:
        owned: whether it may overwrite its input.
    """

    def __init__(self, source: Block) -> None:
        shortcut = None if source.shortcut is None else freeze(source.shortcut)
        super().__init__(freeze(source.residual), shortcut, frames=source.frames, relu=source.relu)
        self.owned = False

    def forward(self, x: Tensor) -> Tensor:
        base = None if self.shortcut is None else self.base(x, self.shortcut)
        # The shortcut is taken: where it is not x itself, an owned x may be shifted in place.
        in_place = self.owned and base is not x and self.frames
        shifted = shift_(x, self.frames) if in_place else self.shifted(x)
        return self.residual(shifted, base, "relu" if self.relu else "none")

    def base(self, x: Tensor, shortcut: nn.Module) -> Tensor:
        """The shortcut as a tensor that may be overwritten; x itself where the block owns it."""
        base: Tensor = shortcut(x)
        return x.clone() if base is x and not self.owned else base


@freeze.register(FocalBlock)
class FrozenFocalBlock(FrozenBlock, FocalBlock):
    """A focal block that writes into its shortcut: F of the kept rows there, F(0) into the others."""

    def skipped(self, x: Tensor, kept: Tensor, multiple: int = 1) -> Tensor:
        response = self.zero_response(self.residual, x)
        # Before the base, which may be x.
        own = self.residual(self.gathered(x, kept, multiple))[: len(kept)] if len(kept) else None
        base = self.base(x, self.shortcut)
        if own is not None and x.dtype in (torch.float32, torch.float64):
            # One pass less over the kept rows than below, for a rounding that half precision would feel.
            return self.finish(add_rows_(base.add_(response), kept, own.sub_(response)))
        if own is None:
            return self.finish(base.add_(response))
        own.add_(take_rows(base, kept))
        return self.finish(put_rows_(base.add_(response), kept, own))


Places = tuple[Tensor, Tensor, Tensor]
"""Frame, row and column of cells, each (k,) int64."""


def as_cells(maps: Tensor, h: int, w: int) -> Tensor:
    """A view of (B, H, W, C) maps as (B, H / h, W / w, h, w, C) cells of h x w pixels."""
    return maps.unflatten(2, (-1, w)).unflatten(1, (-1, h)).transpose(2, 3)


@freeze.register(CellBottleneck)
class FrozenCellBottleneck(CellBottleneck):
    """A cell bottleneck that computes tiles: whole cells, as a batch of small maps.

    The 3x3 needs a border of one pixel around each tile; it is read off a board that holds the middle features of kept
    cells and, elsewhere, what a zero gives. So every convolution is a library's, and computes kept pixels only.
    """

    def __init__(self, source: CellBottleneck) -> None:
        nn.Module.__init__(self)
        for name, module in freeze.dispatch(nn.Module)(source).named_children():
            setattr(self, name, module)
        self.expand = FusedConv(self.conv1, activation="relu")
        self.inner = FusedConv(self.conv2, activation="relu")
        self.project = FusedConv(self.conv3)
        without_padding = copy.copy(self.conv2)
        without_padding.padding = (0, 0)
        self.tile = FusedConv(without_padding, activation="relu")

    def forward(
        self, x: Tensor, add: Tensor | None = None, activation: Activation = "none", *, pixels: Tensor | None = None
    ) -> Tensor:
        if pixels is not None:
            return super().forward(x, pixels=pixels)
        return self.project(self.inner(self.expand(x)), add, activation)

    def tiles(self, tiles: Tensor, places: Places, maps: torch.Size, add: Tensor, activation: Activation) -> Tensor:
        """act(F + add) of cells.

        Args:
            tiles: (k, C, h, w), the input at `places` of maps of shape (B, C, H, W).
            add: (k, D, h, w), given up.

        Returns:
            (k, D, h, w).
        """
        middle = self.expand(tiles)
        inner = self._by_kernel if kernel_serves(self.conv2, middle) else self._by_windows
        return self.project(inner(middle, places, maps), add, activation)

    def _by_windows(self, middle: Tensor, places: Places, maps: torch.Size) -> Tensor:
        """(k, M, h, w) -> (k, M', h, w), the 3x3 with its ReLU."""
        (frames, _, height, width), (h, w) = maps, middle.shape[-2:]
        board = middle.new_zeros(frames, height + 2, width + 2, middle.shape[1])
        inside = board[:, 1:-1, 1:-1]
        inside[...] = self._outside()
        as_cells(inside, h, w)[places] = middle.permute(0, 2, 3, 1)
        # (B, H / h, W / w, h + 2, w + 2, channels), overlapping by two pixels
        windows = board.unfold(1, h + 2, h).unfold(2, w + 2, w).permute(0, 1, 2, 4, 5, 3)
        return self.tile(windows[places].permute(0, 3, 1, 2))

    def _by_kernel(self, middle: Tensor, places: Places, maps: torch.Size) -> Tensor:
        """The same, pixel by pixel."""
        (frames, _, height, width), (h, w) = maps, middle.shape[-2:]
        across, down = (torch.arange(side, device=middle.device) for side in (w, h))
        frame, row, column = (place[:, None, None] for place in places)
        pixels = ((frame * height + row * h + down[:, None]) * width + column * w + across).flatten()  # (k * h * w,)
        rows = middle.permute(0, 2, 3, 1).flatten(0, 2)
        out = gathered_3x3(self.conv2, rows, self._outside()[None], pixels, (frames, height, width), relu=True)
        return out.view(-1, h, w, out.shape[1]).permute(0, 3, 1, 2)

    def _outside(self) -> Tensor:
        """(M,) what the first convolution gives at dropped pixels."""
        return functional.relu(bias_of(self.conv1))


@freeze.register(SpatialFocalBlock)
class FrozenSpatialFocalBlock(FrozenBlock, SpatialFocalBlock):
    """Cells in tiles, where they are all of one size; pixel by pixel where the grid does not divide the map."""

    residual: FrozenCellBottleneck

    def skipped_cells(self, x: Tensor, cells: Tensor) -> Tensor:
        (height, width), grid = x.shape[-2:], cells.shape[-1]
        if height % grid or width % grid:
            return super().skipped_cells(x, cells)
        h, w = height // grid, width // grid
        response = self.zero_response(self.residual, x)
        x = x.contiguous(memory_format=torch.channels_last)
        places: Places = cells.nonzero(as_tuple=True)  # type: ignore[assignment]
        inputs = self._inputs(x, places, h, w)  # before the base, which may be x
        base = self.base(x, self.shortcut)
        target = as_cells(base.permute(0, 2, 3, 1), h, w)
        own = target[places].permute(0, 3, 1, 2)
        own = self.residual.tiles(inputs, places, x.shape, own, "relu" if self.relu else "none")
        self.finish(base.add_(response))
        target[places] = own.permute(0, 2, 3, 1)
        return base

    def _inputs(self, x: Tensor, places: Places, h: int, w: int) -> Tensor:
        """shift(x) in these cells: (k, C, h, w)."""
        maps, (frame, row, column) = as_cells(x.permute(0, 2, 3, 1), h, w), places
        tiles = maps[places]  # (k, h, w, C)
        if self.frames:
            for channels, source, outside in shift_sources(x.shape[1] // FRACTION, self.frames, frame, len(x)):
                moved = maps[..., channels][source, row, column]
                tiles[..., channels] = moved.masked_fill_(outside.view(-1, 1, 1, 1), 0)
        return tiles.permute(0, 3, 1, 2)
