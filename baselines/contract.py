"""What every backbone owes the methods built on it: maps of frames, features of maps, and a shift in time.

Shapes: B frames of any size (3, H, W); where a backbone shifts, B = N*T, frame-major inside a video.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from afnet.blocks import Block
from afnet.fused import Activation, FusedConv
from afnet.inference import FrozenBlock, freeze
from afnet.shift import temporal_shift

# Pixels of the input, along a side, for one of the last map.
SIDE_MULTIPLE = 32


def map_side(size: int) -> int:
    """Pixels of the last map along a side, for frames of this many."""
    return -(-size // SIDE_MULTIPLE)


def make_classifier(features: int, classes: int) -> nn.Linear:
    """A last layer that begins by telling no class from another, as TSN's code has it."""
    classifier = nn.Linear(features, classes)
    nn.init.normal_(classifier.weight, std=0.001)
    nn.init.zeros_(classifier.bias)
    return classifier


class ResidualBlock(nn.Module):
    """`act(shortcut(x) + F(shift(x)))`; families differ in F and in what their weight files call its parts.

    Attributes:
        frames: T where the block shifts the input of F in time, 0 where not.
        relu: whether the block ends in a ReLU.
    """

    def __init__(self, *, frames: int, relu: bool) -> None:
        super().__init__()
        self.frames = frames
        self.relu = relu

    def layers(self) -> list[nn.Module]:
        """F as layers that follow one another, a batch-norm last."""
        raise NotImplementedError

    def shortcut(self) -> nn.Module | None:
        """An empty chain where it is x itself; None where the block has none."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, D, ceil(H / stride), ceil(W / stride))."""
        shortcut = self.shortcut()
        base = None if shortcut is None else shortcut(x)
        out = temporal_shift(x, self.frames) if self.frames else x
        for layer in self.layers():
            out = layer(out)
        if base is not None:
            out = out + base
        return out.relu_() if self.relu else out


class Backbone(nn.Module):
    """Frames to a last map, a 32nd of the frame along a side, and to a vector.

    Attributes:
        name: in baselines.backbones.BACKBONES.
        channels: C of the last map.
        features: length of the vector.
        frames: T within which channels are shifted in time (TSM), 0 for a network that does not shift.
        classifier: the layers of the weight file's classifier that are part of the features; mostly none.
        head: name of the classifier's last layer in the weight file, which is not part of the backbone.
    """

    head = "fc"

    def __init__(self, name: str, *, channels: int, features: int, frames: int) -> None:
        super().__init__()
        self.name = name
        self.channels = channels
        self.features = features
        self.frames = frames
        self.classifier: nn.Module = nn.Sequential()

    def layers(self) -> list[nn.Module]:
        """All up to the last map as layers that follow one another."""
        raise NotImplementedError

    def maps(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, channels, ceil(H / 32), ceil(W / 32)).

        Raises:
            ValueError: for another shape, or a B that is no multiple of T where the network shifts.
        """
        if x.ndim != 4 or x.shape[1] != 3:
            raise ValueError(f"frames have shape {tuple(x.shape)}; a backbone expects (B, 3, H, W)")
        if self.frames and len(x) % self.frames:
            raise ValueError(f"got {len(x)} frames; this backbone shifts within clips of {self.frames}: expected N * T")
        for layer in self.layers():
            x = layer(x)
        return x

    def pooled(self, maps: Tensor) -> Tensor:
        """(B, channels, h, w) -> (B, features): the mean over the map, and what follows it."""
        return self.classifier(torch.mean(maps, dim=(2, 3)))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, features)."""
        return self.pooled(self.maps(x))

    def set_frames(self, frames: int) -> None:
        """Shift within clips of another number of frames; a network that does not shift stays as it is."""
        if frames < 1:
            raise ValueError(f"frames is {frames}; expected a whole number from 1")
        for module in self.modules():
            # Block is what a ResidualBlock becomes when it is frozen.
            if isinstance(module, (Backbone, ResidualBlock, Block)) and module.frames:
                module.frames = frames


def flattened(layers: Iterable[nn.Module]) -> list[nn.Module]:
    """Layers with those of chains in the chains' place."""
    flat: list[nn.Module] = []
    for layer in layers:
        flat.extend(flattened(layer) if type(layer) is nn.Sequential else [layer])
    return flat


class FrozenResidual(nn.Module):
    """F of a block; `forward(x, add, activation)` is `act(F(x) + add)`, as in FusedConv."""

    def __init__(self, layers: list[nn.Module]) -> None:
        super().__init__()
        chain = freeze(nn.Sequential(*flattened(layers)))
        assert isinstance(chain, nn.Sequential)
        *first, last = chain  # not its children, which would name an activation once that follows two layers
        assert isinstance(last, FusedConv)
        self.first, self.last = nn.Sequential(*first), last

    def forward(self, x: Tensor, add: Tensor | None = None, activation: Activation = "none") -> Tensor:
        return self.last(self.first(x), add, activation)


@freeze.register
def _(block: ResidualBlock) -> nn.Module:
    return FrozenBlock(Block(FrozenResidual(block.layers()), block.shortcut(), frames=block.frames, relu=block.relu))


@freeze.register(Backbone)
class FrozenBackbone(Backbone):
    """The same maps and features in evaluation, of frozen blocks in one chain."""

    def __init__(self, source: Backbone) -> None:
        super().__init__(source.name, channels=source.channels, features=source.features, frames=source.frames)
        layers = flattened(source.layers())
        # Apart, because a stem may work a few frames at a time, which blocks that shift cannot.
        first = next(i for i, layer in enumerate(layers) if isinstance(layer, ResidualBlock))
        self.stem = freeze(nn.Sequential(*layers[:first]))
        self.blocks = freeze(nn.Sequential(*layers[first:]))
        self.classifier = freeze(source.classifier)

    def layers(self) -> list[nn.Module]:
        return [self.stem, self.blocks]


# Frozen already.
freeze.register(FrozenBackbone, lambda backbone: backbone)
