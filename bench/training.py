"""The training loop, one for every method: deterministic, and exact after being killed at any moment.

Each step seeds its own random numbers from (seed, step) and draws its own batch, so the state to resume from is the
weights, the optimiser's momenta and a step number. Lines of progress are deterministic; times are kept elsewhere.
"""

from __future__ import annotations

import json
import logging
import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from afnet.contract import Output, Progress, VideoModel, lay_out_channels_last
from bench.checkpoint import load_checkpoint, restore, save_checkpoint, unusable
from bench.data.batches import Batch, present
from bench.data.catalogue import find_dataset
from bench.data.loader import TrainingClips
from bench.distributed import ALONE, Team
from bench.environment import available_cores
from bench.errors import UserError
from bench.experiment import Experiment, Training
from bench.files import append_line, read_lines, write_text
from bench.methods import build_model
from bench.record import write_description
from bench.running_statistics import Statistics
from bench.weights import start_from

log = logging.getLogger(__name__)

# Learning rates per kind of parameter. The published ones (TSM's code, AFNet's) fine-tune ImageNet weights with a fresh
# classifier; from scratch a classifier that runs ahead of its features stalls the training (measured on the tiny nets).
MULTIPLIERS: dict[str, dict[str, float]] = {
    "published": {
        "navigation": 10.0,
        "classifier weight": 5.0,
        "classifier bias": 10.0,
        "bias": 2.0,
        # AdaFocus V2's code.
        "policy": 0.1,
        "glance": 0.5,
    },
    "from-scratch": {"navigation": 10.0},
}

Report = Callable[[str, int, int], None]
"""Called with the stage, the steps done and the steps in all."""


Validate = Callable[[VideoModel], tuple[str, float]]
"""The name of a data set's metric and its value, the larger the better."""

# A mean loss this many times the first one, or 1 where that was less, is no longer learning.
RUNAWAY = 10.0
BEST = "best.pt"


@dataclass(frozen=True)
class Trained:
    """What a training took.

    Attributes:
        total: seconds.
        loading: of them, those spent waiting for clips.
        bad: what is wrong with each video that was left out, by its name.
    """

    total: float
    loading: float
    bad: dict[str, str]


class Diverged(UserError):
    """The loss is no longer a number, or no longer a loss."""


def learning_rate(training: Training, progress: Progress) -> float:
    """The factor on the learning rate: linear warm-up, then a cosine to zero or tenfold steps."""
    warm = training.warmup * progress.steps
    if progress.step + 1 < warm:
        return (progress.step + 1) / warm
    if training.schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * progress.fraction))
    return 0.1 ** sum(progress.fraction >= edge for edge in training.parsed_milestones())


def make_optimiser(model: VideoModel, training: Training) -> torch.optim.Optimizer:
    """An optimiser over the method's parameter groups, each with its learning rate at the peak as `peak`."""
    scales = MULTIPLIERS[training.multipliers]
    groups = [
        {
            "params": group["params"],
            "lr": training.lr * scales.get(group["kind"], 1.0),
            "peak": training.lr * scales.get(group["kind"], 1.0),
            "weight_decay": training.weight_decay if group["decay"] else 0.0,
        }
        for group in model.parameter_groups()
    ]
    if training.optimiser == "adamw":
        return torch.optim.AdamW(groups, lr=training.lr, betas=(training.momentum, 0.999), fused=True)
    optimiser = torch.optim.SGD(
        groups, lr=training.lr, momentum=training.momentum, nesterov=training.nesterov, fused=True
    )
    # The fused step takes no mixture of parameters with momentum and without, which methods have that learn in stages;
    # from zero it is what it would be.
    for parameter in (parameter for group in groups for parameter in group["params"] if training.momentum):
        optimiser.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimiser


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
) -> tuple[VideoModel, Trained]:
    """Train, or take up the training where its last checkpoint left it, or load it where it is done.

    Args:
        folder: of the training, locked by the first process of the team.
        validate: how good a model is, where the training validates; called in all processes.

    Raises:
        UserError: for a checkpoint that cannot be used; Diverged when the loss is not finite or runs away.
    """
    model = make_model(experiment).to(device)
    run = _Run(experiment, folder, device, team, model, make_optimiser(model, experiment.training))
    if not run.resume():
        start_from(model, experiment)
    if team.is_first:
        write_description(folder, experiment)
    if run.step < experiment.steps:
        _loop(run, report, validate)
    return model.eval(), Trained(run.seconds, run.loading, dict(run.bad))


def load_best(model: VideoModel, experiment: Experiment, folder: Path) -> None:
    """Give a model the weights of the training's best validation.

    Raises:
        UserError: where they are missing or damaged.
    """
    path = folder / BEST
    state = load_checkpoint(path, experiment.training_id)
    if state is None:
        raise unusable(path, "is missing, which the training's best validation should have left")
    restore(path, state, model, None)


@dataclass
class _Run:
    """The state of a training and its files."""

    experiment: Experiment
    folder: Path
    device: torch.device
    team: Team
    model: VideoModel
    optimiser: torch.optim.Optimizer
    step: int = 0
    seconds: float = 0.0
    loading: float = 0.0
    saved_at: float = 0.0
    best: float = -1.0
    first_loss: float | None = None
    bad: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        training = self.experiment.training
        self.parts = self.team.shared(training.parts)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=training.precision == "float16")
        self.forward: Callable[[Tensor], Output] = torch.compile(self.model) if training.compiled else self.model

    def resume(self) -> bool:
        """Load the last checkpoint, if any, and cut the progress file back to it; whether there was one."""
        path = self.folder / "checkpoint.pt"
        state = load_checkpoint(path, self.experiment.training_id)
        if state is not None:
            restore(path, state, self.model, self.optimiser)
            self.step, self.seconds, self.loading = state["step"], state["seconds"], state["loading"]
            self.best, self.bad = state["best"], state["bad"]
            if state["scaler"]:
                self.scaler.load_state_dict(state["scaler"])
            log.info("taking up the training at step %d of %d", self.step, self.experiment.steps)
        self._cut_progress()
        self.saved_at = time.monotonic()
        return state is not None

    def _cut_progress(self) -> None:
        """Keep the lines up to the checkpoint that can be read; a line cut short by a kill comes after it."""
        path = self.folder / "progress.jsonl"
        kept = []
        for line in read_lines(path):
            try:
                values = json.loads(line)
                if values["step"] > self.step:
                    break
                if self.first_loss is None and "loss" in values:
                    self.first_loss = float(values["loss"])
            except (ValueError, KeyError, TypeError):
                continue
            kept.append(line + "\n")
        if self.team.is_first:
            write_text(path, "".join(kept))

    def log_line(self, **facts: Any) -> None:
        if self.team.is_first:
            append_line(self.folder / "progress.jsonl", json.dumps({"step": self.step, **facts}))

    def taken(self, batches: Iterator[Batch]) -> Batch:
        """The next batch, the wait for it and its bad videos noted."""
        waited = time.perf_counter()
        batch = next(batches)
        self.loading += time.perf_counter() - waited
        self.bad.update(batch.bad)
        return batch

    def is_due(self) -> bool:
        """Whether a checkpoint is to be written now; the first process decides for all."""
        finished = self.step == self.experiment.steps
        old = time.monotonic() - self.saved_at >= self.experiment.runtime.checkpoint_seconds
        return self.team.gathered(finished or old)[0]

    def save(self) -> None:
        """Write a checkpoint if the last one is old enough; the finished one drops the optimiser's state."""
        if not self.is_due():
            return
        for bad in self.team.gathered(self.bad):
            self.bad |= bad
        if self.team.is_first:
            save_checkpoint(self.folder / "checkpoint.pt", self._state(self.step == self.experiment.steps))
        self.saved_at = time.monotonic()

    def keep_best(self, found: float) -> None:
        """Write the weights if no validation before was as good."""
        if found > self.best:
            self.best = found
            if self.team.is_first:
                save_checkpoint(self.folder / BEST, self._state(final=True))

    def _state(self, final: bool) -> dict[str, Any]:
        return {
            "training_id": self.experiment.training_id,
            "step": self.step,
            "seconds": self.seconds,
            "loading": self.loading,
            "best": self.best,
            "bad": self.bad,
            "scaler": self.scaler.state_dict(),
            "model": self.model.state_dict(),
            "optimiser": None if final else self.optimiser.state_dict(),
        }


def _loop(run: _Run, report: Report, validate: Validate | None) -> None:
    experiment = run.experiment
    data, training = experiment.data, experiment.training
    clips = TrainingClips(
        find_dataset(data.dataset).open(data),
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
            metric, found = validate(run.model.eval())
            run.model.train()
            run.log_line(epoch=run.step // clips.steps_per_epoch, **{metric: found})
            run.keep_best(found)
        if not losses:
            # After a line of progress and a validation, so that a resumed run logs the same ones; what is reported is
            # kept.
            run.save()
            report("train", run.step, experiment.steps)


def _after_step(run: _Run, losses: list[float], kept: dict[str, float]) -> None:
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


def _diverged(run: _Run, what: str, losses: list[float]) -> Diverged:
    training = run.experiment.training
    narrow = (
        " training.precision=float32 tells whether the narrow type is why." if training.precision != "float32" else ""
    )
    return Diverged(
        f"The loss {what} at step {run.step} of {run.experiment.steps} in {run.folder}; the last were "
        f"{', '.join(f'{value:.3g}' for value in losses[-5:])}. A lower training.lr (now {training.lr:g}) or a "
        f"longer training.warmup usually helps.{narrow} The last checkpoint was kept."
    )


def _step(run: _Run, batches: Iterator[Batch]) -> tuple[float, dict[str, float]]:
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
    totals = torch.zeros(4, dtype=torch.float64)
    fewest = max(run.experiment.model.settings.smallest_batch, 1)
    for part in run.parts:
        batch = run.taken(batches)
        statistics.before_part()
        if len(batch) >= fewest:
            torch.manual_seed(step_seed(training.seed, progress.step, part))
            loss, output = _loss(run, batch, progress)
            run.scaler.scale(loss / training.parts).backward()
            totals += torch.tensor([1.0, loss.item(), *_kept(output)], dtype=torch.float64)
        statistics.after_part()
    used, total, kept, counted = run.team.sum(totals.to(run.device) if run.team.size > 1 else totals).tolist()
    if not used:
        raise _none_left(run, batch)
    statistics.settle(run.team)
    run.team.sum_gradients(model)
    if used < training.parts:
        _multiply_gradients(model, training.parts / used)
    run.scaler.unscale_(run.optimiser)
    torch.nn.utils.clip_grad_norm_(model.parameters(), training.clip_norm)
    run.scaler.step(run.optimiser)
    run.scaler.update()
    return total / used, {"kept": kept / counted} if counted else {}


def _multiply_gradients(model: VideoModel, factor: float) -> None:
    for parameter in model.parameters():
        if parameter.grad is not None:
            parameter.grad *= factor


def _none_left(run: _Run, batch: Batch) -> UserError:
    training, (name, reason) = run.experiment.training, batch.bad[0]
    return UserError(
        f"None of the {training.batch} training videos of step {run.step + 1} can be used; one of them is {name!r}: "
        f"{reason}. Expected one at least in every step, with a larger training.batch where there are few; `afbench "
        f"data verify {run.experiment.data.dataset}` lists what is wrong. The last checkpoint was kept."
    )


def _loss(run: _Run, batch: Batch, progress: Progress) -> tuple[Tensor, Output]:
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
