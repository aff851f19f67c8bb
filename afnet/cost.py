"""Multiply-adds of the published networks in closed form, from the tables of afnet.backbones alone.

Two ways to count, since two numbers go round. `closed_form` counts convolutions, linear layers and nothing else, as
operator counters do. `authors_count` counts as the released code's `forward_calc_flops` does: in addition pooling, the
gates' and squeeze-excites' element-wise work, and navigation's score once per frame instead of once per video; it is
what papers print as "GFLOPs". Neither runs a network.
"""

from __future__ import annotations

from dataclasses import dataclass

from afnet.backbones import HEAD, HIDDEN, LAST, MOBILENET, MODULES, RESNETS, STEM_WIDTH, TAIL, Inverted, ResNetSize
from afnet.blocks import round_to_eight


@dataclass(frozen=True)
class Cost:
    """Multiply-adds of one video.

    Attributes:
        static: whatever is decided, navigation included.
        focal: (blocks,) residual function of each focal block on one frame.
        policy: navigation's part of `static`.
        frames: T.
    """

    static: int
    focal: tuple[int, ...]
    policy: int
    frames: int

    def total(self, ratio: float) -> float:
        """With this share of the frames of every block kept."""
        return self.static + ratio * self.frames * sum(self.focal)


def closed_form(backbone: str, *, frames: int, classes: int, size: int = 224) -> Cost:
    """What an operator counter sees of one video of square frames, sides a multiple of 32."""
    return _count(backbone, frames, classes, size, authors=False)


def authors_count(backbone: str, *, frames: int, classes: int, size: int = 224) -> Cost:
    """What the released code reports for it."""
    return _count(backbone, frames, classes, size, authors=True)


def _count(backbone: str, frames: int, classes: int, size: int, *, authors: bool) -> Cost:
    if backbone == MOBILENET:
        tally = _Tally(frames, authors)
        _mobilenet(tally, classes, size)
    else:
        tally = _Tally(frames, authors)
        _resnet(tally, RESNETS[backbone], classes, size)
    return Cost(frames * tally.static + frames * tally.policy, tuple(tally.focal), frames * tally.policy, frames)


class _Tally:
    """Sums of one frame."""

    def __init__(self, frames: int, authors: bool) -> None:
        self.frames, self.authors = frames, authors
        self.static, self.policy = 0, 0
        self.focal: list[int] = []

    def extra(self, macs: int) -> None:
        """What only the authors count."""
        self.static += macs if self.authors else 0

    def navigation(self, channels: int, side: int) -> None:
        """Pool, squeeze to 2, and a 2x2 map of one position."""
        self.policy += channels * 2 + 4
        if self.authors:
            self.policy += channels * side * side + 4 * (self.frames - 1)

    def gate(self, channels: int, side: int) -> None:
        self.static += 2 * channels * max(channels // 16, 1)
        self.extra(channels * side * side + channels)


def conv(inputs: int, outputs: int, kernel: int, side: int, groups: int = 1) -> int:
    """Of a convolution with an output of side x side."""
    return inputs // groups * outputs * kernel * kernel * side * side


def _bottleneck(inputs: int, outputs: int, side: int, out_side: int, groups: int = 1) -> int:
    """1x1 at `side`, 3x3 to `out_side`, 1x1 there; middle width a quarter of the output."""
    middle = outputs // 4
    return (
        conv(inputs, middle, 1, side, groups)
        + conv(middle, middle, 3, out_side, groups)
        + conv(middle, outputs, 1, out_side, groups)
    )


def _plain(tally: _Tally, inputs: int, outputs: int, side: int, out_side: int) -> None:
    """A bottleneck over all frames with its shortcut, which pools where it strides."""
    tally.static += _bottleneck(inputs, outputs, side, out_side)
    if inputs != outputs:
        tally.static += conv(inputs, outputs, 1, out_side)
    if side != out_side:
        tally.extra(9 * inputs * out_side * out_side)


def _resnet(tally: _Tally, size: ResNetSize, classes: int, picture: int) -> None:
    side = picture // 4
    tally.static += conv(3, size.width, 7, picture // 2)
    tally.extra(9 * size.width * side * side)
    inputs = size.width
    for stage, blocks in enumerate(size.blocks[:3]):
        outputs = size.width * 4 * 2**stage
        cheap, ample_in, focal_in, ample_side = outputs // 2, inputs, inputs, side
        for _ in range(blocks - 1):
            tally.navigation(ample_in, ample_side)
            _plain(tally, ample_in, cheap, ample_side, side // 2)
            tally.focal.append(_bottleneck(focal_in, outputs, side, side, groups=2))
            if focal_in != outputs:
                tally.static += conv(focal_in, outputs, 1, side)
            ample_in, focal_in, ample_side = cheap, outputs, side // 2
        tally.static += conv(cheap, outputs, 1, side // 2)
        tally.gate(outputs, side)
        out_side = side // 2 if stage < 2 else side
        _plain(tally, outputs, outputs, side, out_side)
        inputs, side = outputs, out_side
    outputs = 2 * inputs
    for block in range(size.blocks[3]):
        out_side = side // 2 if block == 0 else side
        _plain(tally, inputs, outputs, side, out_side)
        inputs, side = outputs, out_side
    tally.extra(inputs * side * side)
    tally.static += inputs * classes


def _inverted(spec: Inverted, inputs: int, side: int, out_side: int, *, groups: int, authors: bool) -> int:
    hidden = round_to_eight(inputs * spec.expansion)
    macs = conv(inputs, hidden, 1, side, groups) if hidden != inputs else 0
    macs += conv(hidden, hidden, spec.kernel, out_side, hidden) + conv(hidden, spec.outputs, 1, out_side, groups)
    if spec.se and authors:
        return macs + hidden * out_side * out_side + hidden * hidden // 4 * 2 + hidden
    return macs + (2 * hidden * round_to_eight(hidden // 4) if spec.se else 0)


def _mobilenet(tally: _Tally, classes: int, picture: int) -> None:
    def plain(spec: Inverted, inputs: int, side: int) -> tuple[int, int]:
        out_side = side // spec.stride
        tally.static += _inverted(spec, inputs, side, out_side, groups=1, authors=tally.authors)
        return spec.outputs, out_side

    side, width = picture // 2, STEM_WIDTH
    tally.static += conv(3, width, 3, side)
    for spec in HEAD:
        width, side = plain(spec, width, side)
    for pairs, last in MODULES:
        ample_width, ample_side = width, side
        for spec in pairs:
            tally.navigation(ample_width, ample_side)
            tally.focal.append(_inverted(spec, width, side, side, groups=2, authors=tally.authors))
            if width != spec.outputs:
                tally.static += conv(width, spec.outputs, 1, side, 2)
            ample_width, ample_side = plain(spec, ample_width, ample_side)
            width = spec.outputs
        tally.gate(width, side)
        width, side = plain(last, width, side)
    for spec in TAIL:
        width, side = plain(spec, width, side)
    tally.static += conv(width, LAST, 1, side) + LAST * HIDDEN + HIDDEN * classes
