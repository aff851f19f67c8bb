"""Evaluation: the validation videos through the inference point, and what it decided and cost for each."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from afnet.contract import VideoModel
from bench.data.catalogue import find_dataset
from bench.data.loader import Batch, present, validation_batches
from bench.errors import UserError
from bench.experiment import Experiment
from bench.macs import CostModel
from bench.samples import Samples
from bench.training import Report


def validation(experiment: Experiment) -> list[Batch]:
    """The validation clips as the point samples them; small enough to hold for generated data."""
    data = experiment.data
    digits = find_dataset(data.dataset).open(data)
    return list(
        validation_batches(
            digits, clips=data.val_clips, frames=experiment.evaluation.frames, batch=experiment.evaluation.batch
        )
    )


def first_clips(experiment: Experiment, clips: int) -> Batch:
    """The first validation clips as the point samples them, in one batch, as many as there are."""
    data = experiment.data
    digits = find_dataset(data.dataset).open(data)
    wanted = min(clips, data.val_clips)
    return next(validation_batches(digits, clips=wanted, frames=experiment.evaluation.frames, batch=wanted))


def evaluate(
    model: VideoModel,
    batches: list[Batch],
    experiment: Experiment,
    cost: CostModel,
    device: torch.device,
    report: Report,
) -> Samples:
    """Run the point over the validation clips.

    Raises:
        UserError: when a logit is not finite, naming the video.
    """
    torch.manual_seed(experiment.evaluation.seed)
    logits, macs, selections = [], [], []
    with torch.inference_mode():
        for number, batch in enumerate(batches):
            clips = present(model, batch, device)
            output = model(clips)
            rows = output.logits.float().cpu().numpy()
            if not np.isfinite(rows).all():
                video = batch.videos[~np.isfinite(rows).all(axis=1)][0]
                raise UserError(f"The logits of validation video {video} are not finite; the checkpoint is not usable.")
            logits.append(rows)
            macs.append(cost.executed(model, output.selection, clips))
            selections.append(output.selection)
            report("evaluate", number + 1, len(batches))
    size = experiment.data.size
    maps = model.cell_maps(size, size)
    crops = _joined([selection.crops for selection in selections])
    resolutions = _joined([selection.resolutions for selection in selections])
    exit_step = _joined([selection.exit_step for selection in selections])
    return Samples(
        video=np.concatenate([batch.videos for batch in batches]),
        label=np.concatenate([batch.labels for batch in batches]),
        logits=np.concatenate(logits),
        macs=np.concatenate(macs),
        times=np.concatenate([batch.times for batch in batches]),
        informative=np.concatenate([batch.informative for batch in batches]),
        regions=(np.concatenate([batch.boxes for batch in batches]) / size).astype(np.float32),
        kept=_by_video([selection.frames for selection in selections]),
        cell_maps=tuple((block, *sides) for block, sides in maps.items()),
        cells=_by_video([None if s.cells is None else s.cells[list(maps)] for s in selections]),
        crops=None if crops is None else (crops / size).astype(np.float32),
        resolutions=resolutions,
        exit_step=exit_step,
    )


def _joined(parts: list[Tensor | None], axis: int = 0) -> NDArray[Any] | None:
    """One array of what all batches have, None where they do not have it."""
    found = [part.cpu().numpy() for part in parts if part is not None]
    return np.concatenate(found, axis=axis) if found else None


def _by_video(parts: list[Tensor | None]) -> NDArray[np.bool_] | None:
    """(blocks, N, ...) of each batch -> (V, blocks, ...)."""
    found = _joined(parts, axis=1)
    return None if found is None else found.swapaxes(0, 1)
