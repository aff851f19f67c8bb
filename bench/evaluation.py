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
from bench.data.batches import Batch, present
from bench.data.catalogue import find_dataset
from bench.data.loader import ValidationClips
from bench.data.source import Sampling
from bench.distributed import ALONE, Team
from bench.errors import UserError
from bench.experiment import Experiment
from bench.macs import CostModel
from bench.metrics import mean_average_precision
from bench.samples import Samples
from bench.training import Report, Score, workers_of


def validation(experiment: Experiment, batch: int | None = None, on_device: bool = False) -> ValidationClips:
    """The validation videos as the point samples them.

    Args:
        batch: videos of a batch; as many as the evaluation's clips a forward are unless said.
        on_device: whether resizing is left to the network's device.
    """
    data, evaluation = experiment.data, experiment.evaluation
    sampling = Sampling(evaluation.frames, evaluation.clips, evaluation.crops)
    return ValidationClips(
        find_dataset(data.dataset).open(data),
        clips=data.val_clips,
        sampling=sampling,
        batch=batch or max(evaluation.batch // sampling.views, 1),
        on_bad=getattr(data.settings, "on_bad", "stop"),
        on_device=on_device,
    )


def first_clips(experiment: Experiment, clips: int) -> Batch:
    """The first view of the first validation videos in one batch, as many as there are, but for bad ones.

    Raises:
        UserError: where no video of the whole split can be used.
    """
    batches = _first_views(experiment, clips)
    for batch in batches.stream():
        if len(batch):
            return batch
    raise _none_left(batches)


def preview_clips(experiment: Experiment, samples: Samples, clips: int) -> Batch:
    """The first view of some validation videos to be looked at: the first two, which all points have, then the first
    ones answered rightly and wrongly, as many of each as there are, in their order.
    """
    right = samples.correct()
    order = [*range(2), *np.flatnonzero(right)[: clips // 2], *np.flatnonzero(~right)[: clips // 2], *range(clips)]
    chosen = list(dict.fromkeys(int(row) for row in order if row < len(right)))[:clips]
    return _first_views(experiment, clips).of(samples.video[sorted(chosen)])


def _first_views(experiment: Experiment, batch: int) -> ValidationClips:
    single = replace(experiment, evaluation=replace(experiment.evaluation, clips=1, crops=1))
    return validation(single, batch)


def _none_left(clips: ValidationClips) -> UserError:
    return UserError(
        f"None of the {clips.clips} validation videos can be used; expected one at least. `afbench data verify` lists "
        "what is wrong."
    )


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
    parts: list[tuple[int, Samples | None, tuple[tuple[str, str], ...]]] = []
    with team.together(), torch.inference_mode():
        for number, batch in zip(numbers, clips.stream(numbers, workers_of(experiment)), strict=True):
            torch.manual_seed(_batch_seed(experiment.evaluation.seed, number))
            parts.append((number, _samples(model, batch, cost, device) if len(batch) else None, batch.bad))
            report("evaluate", len(parts), len(numbers))
    everything = sorted((part for own in team.gathered(parts) for part in own), key=lambda part: part[0])
    found = [samples for _, samples, _ in everything if samples is not None]
    if not found:
        raise _none_left(clips)
    return joined(found), dict(pair for _, _, bad in everything for pair in bad)


def score(
    model: VideoModel,
    clips: ValidationClips,
    device: torch.device,
    report: Report,
    team: Team = ALONE,
    workers: int = 0,
) -> Score:
    """The data set's metric of a model, its decisions masked, in all processes; for use while training.

    Raises:
        UserError: where no video can be used, or for one that cannot be, as the policy says.
    """
    before, model.execution = model.execution, "masked"
    parts: list[tuple[NDArray[np.floating[Any]], NDArray[np.int64], NDArray[np.bool_] | None]] = []
    numbers, left_out = range(team.rank, len(clips), team.size), 0
    with team.together(), torch.inference_mode():
        for done, batch in enumerate(clips.stream(numbers, workers), start=1):
            report("validate", done, len(numbers))
            left_out += len(batch.bad)
            if len(batch):
                logits = model(present(model, batch, device)).logits.float().cpu().numpy()
                logits = logits.reshape(len(batch), batch.views, -1).mean(axis=1)
                parts.append((logits, batch.labels, batch.targets))
    model.execution = before
    everything = [part for own in team.gathered(parts) for part in own]
    left_out = sum(team.gathered(left_out))
    if not everything:
        raise _none_left(clips)
    logits, labels = (np.concatenate([part[number] for part in everything]) for number in (0, 1))
    targets = [part[2] for part in everything if part[2] is not None]
    if targets:
        return Score("map", mean_average_precision(np.concatenate(targets), logits), left_out)
    return Score("top1", 100 * float((logits.argmax(axis=1) == labels).mean()), left_out)


def _batch_seed(seed: int, number: int) -> int:
    """Of the noise of a batch, whatever process computes it."""
    return int(np.random.SeedSequence((seed, number)).generate_state(1, np.uint64)[0] >> 1)


def _samples(model: VideoModel, batch: Batch, cost: CostModel, device: torch.device) -> Samples:
    """Of one batch. Of several views of a video logits are averaged, what was decided is joined frame after frame."""
    videos, views = len(batch), batch.views
    clips = present(model, batch, device)
    size = clips.shape[-1]
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
