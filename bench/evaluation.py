"""Evaluation: the validation videos through the inference point, and what it decided and cost for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from afnet.contract import VideoModel
from bench.data.catalogue import find_dataset
from bench.data.loader import Batch, ValidationClips, present
from bench.data.source import Sampling
from bench.distributed import ALONE, Team
from bench.errors import UserError
from bench.experiment import Experiment
from bench.macs import CostModel
from bench.samples import Samples
from bench.training import Report, workers_of


def validation(experiment: Experiment, batch: int | None = None, clips: int | None = None) -> ValidationClips:
    """The validation videos as the point samples them.

    Args:
        batch: videos of a batch, as the evaluation has them unless said.
        clips: how many of the videos, from the first one; all unless said.
    """
    data, evaluation = experiment.data, experiment.evaluation
    return ValidationClips(
        find_dataset(data.dataset).open(data),
        clips=data.val_clips if clips is None else min(clips, data.val_clips),
        sampling=Sampling(evaluation.frames, evaluation.clips, evaluation.crops),
        batch=batch or evaluation.batch,
        on_bad=getattr(data.settings, "on_bad", "stop"),
    )


def first_clips(experiment: Experiment, clips: int) -> Batch:
    """The first view of the first validation videos, in one batch, as many as there are."""
    single = replace(experiment, evaluation=replace(experiment.evaluation, clips=1, crops=1))
    return validation(single, batch=clips, clips=clips).make(0)


def evaluate(
    model: VideoModel,
    clips: ValidationClips,
    experiment: Experiment,
    cost: CostModel,
    device: torch.device,
    report: Report,
    team: Team = ALONE,
) -> tuple[Samples, dict[str, str]]:
    """Run the point over the validation videos, each process of a team over its batches.

    Returns:
        In all processes, what was found for each video, in order, and what is wrong with each that was left out, by its
        name.

    Raises:
        UserError: when a logit is not finite, naming the video; for a video that cannot be used, as the policy says.
    """
    numbers = range(team.rank, len(clips), team.size)
    parts: list[tuple[int, Samples, tuple[tuple[str, str], ...]]] = []
    with torch.inference_mode():
        for number, batch in zip(numbers, clips.stream(numbers, workers_of(experiment)), strict=True):
            torch.manual_seed(_batch_seed(experiment.evaluation.seed, number))
            parts.append((number, _samples(model, batch, cost, device), batch.bad))
            report("evaluate", len(parts), len(numbers))
    everything = sorted((part for own in team.gathered(parts) for part in own), key=lambda part: part[0])
    return joined([samples for _, samples, _ in everything]), dict(pair for _, _, bad in everything for pair in bad)


def top1(model: VideoModel, clips: ValidationClips, device: torch.device, team: Team = ALONE) -> float:
    """Per cent of the validation videos that a model answers rightly, its decisions masked; for use while training."""
    numbers = range(team.rank, len(clips), team.size)
    before, model.execution = model.execution, "masked"
    counts = torch.zeros(2, dtype=torch.float64)
    with torch.inference_mode():
        # In this process: what makes the training's clips goes on meanwhile.
        for batch in clips.stream(numbers):
            logits = (
                model(present(model, batch, device)).logits.float().reshape(len(batch), batch.views, -1).mean(dim=1)
            )
            right = (logits.argmax(dim=1).cpu() == torch.from_numpy(batch.labels)).sum()
            counts += torch.tensor([float(right), float(len(batch))], dtype=torch.float64)
    model.execution = before
    right, of = team.sum(counts.to(device) if team.size > 1 else counts).tolist()
    return 100 * right / of


def _batch_seed(seed: int, number: int) -> int:
    """Of the noise of a batch, whatever process computes it."""
    return int(np.random.SeedSequence((seed, number)).generate_state(1, np.uint64)[0] >> 1)


def _samples(model: VideoModel, batch: Batch, cost: CostModel, device: torch.device) -> Samples:
    """Of one batch. Of several views of a video logits are averaged, what was decided is joined frame after frame."""
    videos, views, size = len(batch), batch.views, batch.clips.shape[2]
    clips = present(model, batch, device)
    output = model(clips)
    logits = output.logits.float().cpu().numpy()
    if not np.isfinite(logits).all():
        video = batch.videos[~np.isfinite(logits).all(axis=1).reshape(videos, views).all(axis=1)][0]
        raise UserError(f"The logits of validation video {video} are not finite; the checkpoint is not usable.")
    chosen, maps = output.selection, model.cell_maps(size, size)
    cells = None if chosen.cells is None else chosen.cells[list(maps)]
    exits = None if chosen.exit_step is None else chosen.exit_step.cpu().numpy()
    crops = _in_turn(chosen.crops, videos)
    return Samples(
        video=batch.videos,
        label=batch.labels,
        logits=logits.reshape(videos, views, -1).mean(axis=1),
        macs=cost.executed(model, chosen, clips).reshape(videos, views).sum(axis=1),
        times=batch.times.reshape(videos, -1),
        informative=batch.informative.reshape(videos, -1),
        regions=(batch.boxes.reshape(videos, -1, 4) / size).astype(np.float32),
        kept=_by_video(chosen.frames, videos),
        cell_maps=tuple((block, *sides) for block, sides in maps.items()),
        cells=_by_video(cells, videos),
        crops=None if crops is None else (crops / size).astype(np.float32),
        resolutions=_in_turn(chosen.resolutions, videos),
        exit_step=None if exits is None else exits.reshape(videos, views).sum(axis=1),
        targets=batch.targets,
    )


def _in_turn(values: Tensor | None, videos: int) -> NDArray[Any] | None:
    """(N*V, T, ...) -> (N, V*T, ...)."""
    return None if values is None else values.cpu().numpy().reshape(videos, -1, *values.shape[2:])


def _by_video(values: Tensor | None, videos: int) -> NDArray[np.bool_] | None:
    """(blocks, N*V, T, ...) -> (N, blocks, V*T, ...)."""
    if values is None:
        return None
    blocks, _, frames, *rest = values.shape
    by_view = values.cpu().numpy().reshape(blocks, videos, -1, frames, *rest)
    return by_view.reshape(blocks, videos, -1, *rest).swapaxes(0, 1)


def joined(parts: Sequence[Samples]) -> Samples:
    """Of all batches."""
    first = parts[0]
    values: dict[str, Any] = {}
    for field in fields(Samples):
        value = getattr(first, field.name)
        array = isinstance(value, np.ndarray)
        values[field.name] = np.concatenate([getattr(part, field.name) for part in parts]) if array else value
    return Samples(**values)
