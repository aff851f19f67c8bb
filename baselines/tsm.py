"""TSM: TSN with 1/8 of the channels shifted forward and 1/8 back in time before each block's first convolution.

Lin et al., "TSM: Temporal Shift Module for Efficient Video Understanding", ICCV 2019 (the residual shift).
"""

from __future__ import annotations

import re

from torch import Tensor

from afnet.released import CheckpointError, Source, fill, read_state
from baselines.contract import ResidualBlock
from baselines.resnet import PRESETS
from baselines.tsn import TSN

ROOT, HEAD = "module.base_model.", "module.new_fc."


class TSM(TSN):
    """TSN with the temporal shift; same multiply-adds, and it sees motion."""

    shift = True


def load_released_tsm(source: Source, *, frames: int) -> TSN:
    """The network of a checkpoint of the released TSM code (mit-han-lab/temporal-shift-module), in evaluation mode.

    Its tensors are called as torchvision's under `module.base_model.`, with `conv1.net` where a block shifts, and
    `module.new_fc`. Depth, classes and whether it shifts are read off them; TSN where it does not.

    Args:
        source: path of a file, or a mapping as it holds one, with or without its `state_dict` level.
        frames: T, which no tensor tells.

    Raises:
        CheckpointError: for a file that cannot be read safely, of another network, or with tensors missing, left over,
            misshapen or not finite.
    """
    state = read_state(source)
    backbone, classes = _architecture(state)
    shift = any(".conv1.net." in name for name in state)
    model = (TSM if shift else TSN)(backbone=backbone, frames=frames, classes=classes)
    shifted = {f"{name}." for name, block in model.named_modules() if isinstance(block, ResidualBlock) and block.frames}
    counts = any(name.endswith("num_batches_tracked") for name in state)
    names = {
        name: _released_name(name, shifted)
        for name in model.state_dict()
        if counts or not name.endswith("num_batches_tracked")
    }
    fill(model, names, state, f"{'TSM' if shift else 'TSN'} on {backbone}")
    return model.eval()


def _released_name(name: str, shifted: set[str]) -> str:
    owner, _, rest = name.partition(".")
    if owner == "classifier":
        return HEAD + rest
    block, conv, last = name.rpartition("conv1.")
    if conv and block in shifted:
        return ROOT + block.removeprefix("backbone.") + "conv1.net." + last
    return ROOT + rest


def _architecture(state: dict[str, Tensor]) -> tuple[str, int]:
    """Name of the ResNet and classes that the names and shapes tell."""
    head = HEAD + "weight"
    if head not in state:
        found = ", ".join(sorted(state)[:3])
        raise CheckpointError(f"the checkpoint has no {head}; it holds {len(state)} tensors: {found}, ...")
    matches = [re.match(rf"{re.escape(ROOT)}layer([1-4])\.(\d+)\.", name) for name in state]
    numbers = [(int(match[1]), int(match[2])) for match in matches if match]
    blocks = tuple(1 + max((block for stage, block in numbers if stage == s), default=-1) for s in (1, 2, 3, 4))
    width = state[first].shape[0] if (first := ROOT + "conv1.weight") in state else 0
    basic = f"{ROOT}layer1.0.conv3.weight" not in state
    for name, preset in PRESETS.items():
        if (preset.blocks, preset.width, preset.basic) == (blocks, width, basic):
            return name, state[head].shape[0]
    raise CheckpointError(
        f"the checkpoint has stages of {blocks} blocks and {width} channels in its stem, which none of "
        f"{', '.join(PRESETS)} has"
    )
