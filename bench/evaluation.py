"""Evaluation: the validation videos through the inference point, and what it decided and cost for each."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from afnet.contract import VideoModel
from bench.data.catalogue import find_dataset
from bench.data.loader import Batch, normalise, validation_batches
from bench.errors import UserError
from bench.experiment import Experiment
from bench.macs import CostModel
from bench.metrics import Samples
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
    logits, kept, cells, macs = [], [], [], []
    cell_blocks = list(model.cell_blocks)
    with torch.inference_mode():
        for number, batch in enumerate(batches):
            clips = normalise(batch.clips, device)
            output = model(clips)
            rows = output.logits.float().cpu().numpy()
            if not np.isfinite(rows).all():
                video = batch.videos[~np.isfinite(rows).all(axis=1)][0]
                raise UserError(f"The logits of validation video {video} are not finite; the checkpoint is not usable.")
            logits.append(rows)
            selection = output.selection
            if selection.frames is not None:
                kept.append(selection.frames.cpu().numpy())
            if selection.cells is not None:
                cells.append(selection.cells[cell_blocks].cpu().numpy())
            macs.append(cost.executed(model, selection, clips))
            report("evaluate", number + 1, len(batches))
    return Samples(
        video=np.concatenate([batch.videos for batch in batches]),
        label=np.concatenate([batch.labels for batch in batches]),
        logits=np.concatenate(logits),
        macs=np.concatenate(macs),
        times=np.concatenate([batch.times for batch in batches]),
        informative=np.concatenate([batch.informative for batch in batches]),
        regions=(np.concatenate([batch.boxes for batch in batches]) / experiment.data.size).astype(np.float32),
        kept=_by_video(kept),
        cell_blocks=np.array(cell_blocks) if cells else None,
        cells=_by_video(cells),
    )


def _by_video(batches: list[NDArray[np.bool_]]) -> NDArray[np.bool_] | None:
    """(blocks, N, ...) of each batch -> (V, blocks, ...)."""
    return np.concatenate(batches, axis=1).swapaxes(0, 1) if batches else None
