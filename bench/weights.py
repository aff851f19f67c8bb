"""The weights a training starts from: a folder with a file per network, and the digest by which it is known.

    resnet50.pth  mobilenetv2.pth  af-resnet50.pth  ...     torchvision's files, and AFNet's own of ImageNet

The digest belongs to the experiment, the folder does not: the same files elsewhere are the same experiment. Imports
torch only to load.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import UserError

if TYPE_CHECKING:
    from afnet.contract import VideoModel
    from bench.experiment import Experiment, Model


def networks_of(model: Model) -> list[str]:
    """Names of the networks that a method is built of, each with a file of its own: its recogniser's, its glance's."""
    if model.method == "afnet":
        return [f"af-{model.backbone}"]
    settings = model.settings.arguments()
    smaller = settings.get("smaller", ())
    others = smaller.split("+") if isinstance(smaller, str) else list(smaller)
    return list(dict.fromkeys([model.backbone, *others, *([settings["glance"]] if "glance" in settings else [])]))


def files_of(model: Model, folder: Path) -> dict[str, Path]:
    """File of each network.

    Raises:
        UserError: where one is missing.
    """
    found = {}
    for name in networks_of(model):
        files = [path for suffix in (".pth", ".pt", ".pth.tar") if (path := folder / f"{name}{suffix}").is_file()]
        if not files:
            raise UserError(
                f"runtime.weights is {folder}, which has no {name}.pth; expected a file for each network of "
                f"{model.method}: {', '.join(f'{each}.pth' for each in networks_of(model))}."
            )
        found[name] = files[0]
    return found


def digest_of(model: Model, folder: Path) -> str:
    """Of the networks' names and the bytes of their files.

    Raises:
        UserError: as files_of, and for a file that cannot be read.
    """
    total = hashlib.sha256()
    for name, path in sorted(files_of(model, folder).items()):
        status = path.stat()
        total.update(f"{name} {_sha256(path, status.st_size, status.st_mtime_ns)}\n".encode())
    return total.hexdigest()[:12]


@lru_cache(maxsize=64)
def _sha256(path: Path, size: int, changed: int) -> str:
    """Of a file, read again when its size or its time of change is another."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); expected a file of weights.") from error


def start_from(model: VideoModel, experiment: Experiment) -> None:
    """Fill a fresh model's networks from their files, where the experiment starts from weights.

    Raises:
        UserError: where the files are not at hand, are others, or do not fit.
    """
    wanted, folder = experiment.training.weights, experiment.runtime.weights
    if not wanted:
        return
    if not folder:
        raise UserError(
            f"The training starts from weights (training.weights is {wanted}), and nothing says where their files are; "
            "expected runtime.weights, their folder."
        )
    files = files_of(experiment.model, Path(folder))
    if (found := digest_of(experiment.model, Path(folder))) != wanted:
        raise UserError(
            f"The files in {folder} have digest {found}, but the experiment starts from {wanted}; expected the same "
            "files, or no training.weights to make it another experiment."
        )
    for path in files.values():
        _check_saved(path)
    from afnet.network import AFNet
    from afnet.released import CheckpointError, load_trunk
    from baselines.contract import Backbone
    from baselines.weights import load_weights

    try:
        if isinstance(model, AFNet):
            load_trunk(model, next(iter(files.values())))
            return
        for module in model.modules():
            if isinstance(module, Backbone):
                load_weights(module, files[module.name])
    except CheckpointError as error:
        raise UserError(
            f"The weights in {folder} cannot be used: {error}. Expected ImageNet weights of these networks, as "
            "torchvision publishes them; for AFNet its own, or random weights: no runtime.weights."
        ) from error


# What a file that torch saved begins with: a zip archive, or a pickle of the time before.
SAVED = (b"PK", b"\x80")


def _check_saved(path: Path) -> None:
    """UserError for a file that torch did not save, as a page that says why there is no download."""
    try:
        with open(path, "rb") as file:
            start = file.read(40)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); expected a file of weights.") from error
    if not start.startswith(SAVED):
        found = f"no file that torch saved: it begins with {start!r}" if start else "empty"
        raise UserError(f"{path} is {found}; expected weights as torchvision publishes them. Download it again.")
