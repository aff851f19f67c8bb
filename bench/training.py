"""The training loop, one for every method: deterministic, and exact after being killed at any moment.

Each step seeds its own random numbers from (seed, step) and draws its own batch, so the state to resume from is the
weights, the optimiser's momenta and a step number. Lines of progress are deterministic; times are kept elsewhere.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from afnet.contract import Output, Progress, VideoModel, lay_out_channels_last
from bench.data.batches import Batch, present
from bench.data.catalogue import find_dataset
from bench.data.loader import TrainingClips
from bench.distributed import ALONE, Team
from bench.environment import available_cores
from bench.errors import UserError
from bench.experiment import Experiment
from bench.methods import build_model
from bench.optimiser import learning_rate, make_optimiser
from bench.record import write_description
from bench.running_statistics import Statistics
from bench.training_state import State
from bench.weights import start_from

Report = Callable[[str, int, int], None]
"""Called with the stage, the steps done and the steps in all."""


@dataclass(frozen=True)
class Score:
    """What a validation found.

    Attributes:
        metric: of the data set: "map" where a video may have several labels, else "top1".
        value: in per cent.
        left_out: videos that could not be used.
    """

    metric: str
    value: float
    left_out: int = 0


Validate = Callable[[VideoModel], Score]
"""How good a model is."""

# A mean loss this many times the first one, or 1 where that was less, is no longer learning.
RUNAWAY = 10.0


class Diverged(UserError):
    """The loss is no longer a number, or no longer a loss."""


def make_model(experiment: Experiment) -> VideoModel:
    """A freshly initialised network, the same for the same seed."""
    torch.manual_seed(step_seed(experiment.training.seed, -1))
    model = build_model(
        experiment.model.method,
        backbone=experiment.model.backbone,
        frames=experiment.model.frames,
        classes=experiment.data.classes,
        settings=experiment.model.settings,
    )
    return lay_out_channels_last(model)


def step_seed(seed: int, step: int, part: int = 0) -> int:
    """A seed for the random numbers of one part of one step, independent of all others."""
    key = (seed, step + 1, part) if part else (seed, step + 1)
    return int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> 1)


def train(
    experiment: Experiment,
    folder: Path,
    device: torch.device,
    report: Report,
    team: Team = ALONE,
    validate: Validate | None = None,
) -> tuple[VideoModel, State]:
    """Train, or take up the training where its last checkpoint left it, or load it where it is done.

    Args:
        folder: of the training, locked by the first process of the team.
        validate: called in all processes, where the training validates.

    Returns:
        The trained network, and the state of the training at its end.

    Raises:
        UserError: for a checkpoint that cannot be used; Diverged when the loss is not finite or runs away.
    """
    model = make_model(experiment).to(device)
    run = State(experiment, folder, device, team, model, make_optimiser(model, experiment.training))
    if not run.resume():
        with team.together():
            start_from(model, experiment)
    with team.together():
        if team.is_first:
            write_description(folder, experiment)
    if run.step < experiment.steps:
        _loop(run, report, validate)
    return model.eval(), run


def _loop(run: State, report: Report, validate: Validate | None) -> None:
    experiment = run.experiment
    data, training = experiment.data, experiment.training
    with run.team.together():
        source = find_dataset(data.dataset).open(data)
    clips = TrainingClips(
        source,
        clips=data.train_clips,
        frames=experiment.model.frames,
        batch=training.batch,
        part=training.batch // training.parts,
        seed=training.seed,
        on_bad=getattr(data.settings, "on_bad", "stop"),
        on_device=run.device.type != "cpu",
    )
    batches = clips.stream(run.step, experiment.steps, run.parts, workers_of(experiment))
    run.model.train()
    losses: list[float] = []
    while run.step < experiment.steps:
        started = time.perf_counter()
        loss, kept = _step(run, batches)
        losses.append(loss)
        if not math.isfinite(loss):
            raise _diverged(run, f"became {loss}", losses)
        run.step += 1
        run.seconds += time.perf_counter() - started
        _after_step(run, losses, kept)
        if validate and training.validate and run.step % (training.validate * clips.steps_per_epoch) == 0:
            found = validate(run.model.eval())
            run.model.train()
            left_out = {"left_out": found.left_out} if found.left_out else {}
            run.log_line(epoch=run.step // clips.steps_per_epoch, **{found.metric: found.value}, **left_out)
            run.keep_best(found.value)
        if not losses:
            # After a line of progress and a validation, so that a resumed run logs the same ones; what is reported is
            # kept.
            run.save()
            with run.team.together():
                report("train", run.step, experiment.steps)


def _after_step(run: State, losses: list[float], kept: dict[str, float]) -> None:
    """A line of progress now and then, of the mean since the last one."""
    experiment, progress = run.experiment, Progress(run.step - 1, run.experiment.steps)
    if run.step % experiment.runtime.log_every and run.step != experiment.steps:
        return
    mean = sum(losses) / len(losses)
    if run.first_loss is None:
        run.first_loss = mean
    if mean > RUNAWAY * max(run.first_loss, 1.0):
        raise _diverged(run, f"ran away, from {run.first_loss:.3g} to {mean:.3g},", losses)
    run.log_line(loss=mean, lr=experiment.training.lr * learning_rate(experiment.training, progress), **kept)
    losses.clear()


def _diverged(run: State, what: str, losses: list[float]) -> Diverged:
    training = run.experiment.training
    narrow = (
        " training.precision=float32 tells whether the narrow type is why." if training.precision != "float32" else ""
    )
    return Diverged(
        f"The loss {what} at step {run.step} of {run.experiment.steps} in {run.folder}; the last were "
        f"{', '.join(f'{value:.3g}' for value in losses[-5:])}. A lower training.lr (now {training.lr:g}) or a "
        f"longer training.warmup usually helps.{narrow} The last checkpoint was kept."
    )


def _step(run: State, batches: Iterator[Batch]) -> tuple[float, dict[str, float]]:
    """One step of the optimiser: the mean loss over the step's clips, and the share of frames kept, of all processes.

    A step's parts see the same running statistics, and leave the mean of theirs: so it does not matter which process
    computes which. A part of which fewer videos can be used than the method needs counts for nothing.
    """
    training, model = run.experiment.training, run.model
    progress = Progress(run.step, run.experiment.steps)
    factor = learning_rate(training, progress)
    for group in run.optimiser.param_groups:
        group["lr"] = group["peak"] * factor
    model.prepare(progress)
    run.optimiser.zero_grad(set_to_none=True)
    statistics = Statistics(model, training.parts)
    with run.team.together():
        totals = _parts(run, batches, progress, statistics)
    used, total, kept, counted = run.team.sum(totals.to(run.device) if run.team.size > 1 else totals).tolist()
    if not used:
        raise _none_left(run)
    statistics.settle(run.team)
    run.team.sum_gradients(model)
    if used < training.parts:
        _multiply_gradients(model, training.parts / used)
    run.scaler.unscale_(run.optimiser)
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), training.clip_norm)
    # In float16 the scaler leaves such a step out, and scales less.
    if not run.scaler.is_enabled() and not norm.isfinite():
        raise _diverged(run, f"is {total / used:.3g}, but its gradient is not finite,", [total / used])
    run.scaler.step(run.optimiser)
    run.scaler.update()
    return total / used, {"kept": kept / counted} if counted else {}


def _parts(run: State, batches: Iterator[Batch], progress: Progress, statistics: Statistics) -> Tensor:
    """Forward and backward of this process's parts of a step.

    Returns:
        How many counted, the sums of their losses and of their shares of frames kept, and how many have such a share.
    """
    training = run.experiment.training
    fewest = max(run.experiment.model.settings.smallest_batch, 1)
    totals = torch.zeros(4, dtype=torch.float64)
    for part in run.parts:
        batch = run.taken(batches)
        statistics.before_part()
        if len(batch) >= fewest:
            torch.manual_seed(step_seed(training.seed, progress.step, part))
            loss, output = _loss(run, batch, progress)
            run.scaler.scale(loss / training.parts).backward()
            totals += torch.tensor([1.0, loss.item(), *_kept(output)], dtype=torch.float64)
        statistics.after_part()
    return totals


def _multiply_gradients(model: VideoModel, factor: float) -> None:
    for parameter in model.parameters():
        if parameter.grad is not None:
            parameter.grad *= factor


def _none_left(run: State) -> UserError:
    training, (name, reason) = run.experiment.training, list(run.bad.items())[-1]
    return UserError(
        f"None of the {training.batch} training videos of step {run.step + 1} can be used; one of them is {name!r}: "
        f"{reason}. Expected one at least in every step, with a larger training.batch where there are few; `afbench "
        f"data verify {run.experiment.data.dataset}` lists what is wrong. The last checkpoint was kept."
    )


def _loss(run: State, batch: Batch, progress: Progress) -> tuple[Tensor, Output]:
    precision = run.experiment.training.precision
    clips = present(run.model, batch, run.device)
    labels = torch.from_numpy(batch.labels).to(run.device)
    with torch.autocast(run.device.type, getattr(torch, precision), enabled=precision != "float32"):
        output = run.forward(clips)
        return run.model.loss(output, labels, progress).float(), output


def _kept(output: Output) -> tuple[float, float]:
    """Share of frames kept, and 1 where there is such a share."""
    frames = output.selection.frames
    return (0.0, 0.0) if frames is None else (frames.float().mean().item(), 1.0)


def workers_of(experiment: Experiment) -> int:
    """Processes that make clips."""
    wanted = experiment.runtime.workers
    if wanted >= 0:
        return wanted
    return 0 if find_dataset(experiment.data.dataset).generated else available_cores()


def set_up_torch(threads: int, device: torch.device) -> None:
    """Fixed thread count and deterministic kernels: the same seed gives the same bytes on one machine.

    CUDA has no deterministic kernel for some gradients; there a warning names them.
    """
    torch.set_num_threads(threads)
    # cuBLAS needs this to be deterministic; it is read when the first handle is made.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=device.type == "cuda")
    # Single precision means it, on every device.
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    # Filling every new tensor guards against reading uninitialised memory, which nothing here does, and costs a sixth
    # of a small network's step.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
