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
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from afnet.contract import Output, Progress, VideoModel, lay_out_channels_last
from bench.checkpoint import load_checkpoint, restore, save_checkpoint
from bench.data.catalogue import find_dataset
from bench.data.loader import Batch, present, training_batches
from bench.errors import UserError
from bench.experiment import Experiment, Training
from bench.files import append_line, read_lines, write_text
from bench.methods import build_model
from bench.record import write_description

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


@dataclass(frozen=True)
class Clock:
    """Seconds of training, and of them those spent waiting for clips."""

    total: float
    loading: float


class Diverged(UserError):
    """The loss is no longer a number."""


def learning_rate(training: Training, progress: Progress) -> float:
    """The factor on the learning rate: linear warm-up, then a cosine to zero or tenfold steps.

    The steps lie at 25/55 and 45/55 of the run, where the released AFNet recipe has them.
    """
    warm = training.warmup * progress.steps
    if progress.step + 1 < warm:
        return (progress.step + 1) / warm
    if training.schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * progress.fraction))
    return 0.1 ** sum(progress.fraction >= edge for edge in (25 / 55, 45 / 55))


def make_optimiser(model: VideoModel, training: Training) -> torch.optim.SGD:
    """SGD over the method's parameter groups, each with its learning rate at the peak as `peak`."""
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
        classes=len(find_dataset(experiment.data.dataset).classes),
        settings=experiment.model.settings,
    )
    return lay_out_channels_last(model)


def step_seed(seed: int, step: int) -> int:
    """A seed for one step's random numbers, independent of all others."""
    return int(np.random.SeedSequence((seed, step + 1)).generate_state(1, np.uint64)[0] >> 1)


def train(experiment: Experiment, folder: Path, device: torch.device, report: Report) -> tuple[VideoModel, Clock]:
    """Train, or take up the training where its last checkpoint left it, or load it where it is done.

    Args:
        folder: of the training, locked by the caller.

    Raises:
        UserError: for a checkpoint that cannot be used; Diverged when the loss is not finite.
    """
    model = make_model(experiment).to(device)
    optimiser = make_optimiser(model, experiment.training)
    run = _Run(experiment, folder, model, optimiser)
    run.resume()
    write_description(folder, experiment)
    if run.step < experiment.steps:
        _loop(run, device, report)
    return model.eval(), Clock(run.seconds, run.loading)


@dataclass
class _Run:
    """The state of a training and its files."""

    experiment: Experiment
    folder: Path
    model: VideoModel
    optimiser: torch.optim.SGD
    step: int = 0
    seconds: float = 0.0
    loading: float = 0.0
    saved_at: float = 0.0

    def resume(self) -> None:
        """Load the last checkpoint, if any, and cut the progress file back to it."""
        path = self.folder / "checkpoint.pt"
        state = load_checkpoint(path, self.experiment.training_id)
        if state is not None:
            restore(path, state, self.model, self.optimiser)
            self.step, self.seconds, self.loading = state["step"], state["seconds"], state["loading"]
            log.info("taking up the training at step %d of %d", self.step, self.experiment.steps)
        self._cut_progress()
        self.saved_at = time.monotonic()

    def _cut_progress(self) -> None:
        """Keep the lines up to the checkpoint that can be read; a line cut short by a kill comes after it."""
        path = self.folder / "progress.jsonl"
        kept = []
        for line in read_lines(path):
            try:
                if json.loads(line)["step"] > self.step:
                    break
            except (ValueError, KeyError, TypeError):
                continue
            kept.append(line + "\n")
        write_text(path, "".join(kept))

    def log_line(self, **facts: Any) -> None:
        append_line(self.folder / "progress.jsonl", json.dumps({"step": self.step, **facts}))

    def save(self, *, force: bool = False) -> None:
        """Write a checkpoint if the last one is old enough; the finished one drops the optimiser's state."""
        finished = self.step == self.experiment.steps
        if not (force or finished or time.monotonic() - self.saved_at >= self.experiment.runtime.checkpoint_seconds):
            return
        state = {
            "training_id": self.experiment.training_id,
            "step": self.step,
            "seconds": self.seconds,
            "loading": self.loading,
            "model": self.model.state_dict(),
            "optimiser": None if finished else self.optimiser.state_dict(),
        }
        save_checkpoint(self.folder / "checkpoint.pt", state)
        self.saved_at = time.monotonic()


def _loop(run: _Run, device: torch.device, report: Report) -> None:
    experiment = run.experiment
    data, training = experiment.data, experiment.training
    batches = training_batches(
        find_dataset(data.dataset).open(data),
        clips=data.train_clips,
        frames=experiment.model.frames,
        batch=training.batch,
        seed=training.seed,
        first_step=run.step,
        steps=experiment.steps,
    )
    run.model.train()
    losses: list[float] = []
    while run.step < experiment.steps:
        started = time.perf_counter()
        batch = next(batches)
        run.loading += time.perf_counter() - started
        progress = Progress(run.step, experiment.steps)
        loss, output = _step(run, batch, progress, device)
        losses.append(loss)
        if not math.isfinite(loss):
            raise Diverged(
                f"The loss became {loss} at step {run.step} of {experiment.steps} in {run.folder}; the last were "
                f"{', '.join(f'{value:.3g}' for value in losses[-5:])}. A lower training.lr (now {training.lr:g}) or a "
                "longer training.warmup usually helps. The last checkpoint was kept."
            )
        run.step += 1
        run.seconds += time.perf_counter() - started
        # Checkpoints follow a line of progress, so that a resumed run logs the same means.
        if run.step % experiment.runtime.log_every == 0 or run.step == experiment.steps:
            run.log_line(
                loss=sum(losses) / len(losses), lr=training.lr * learning_rate(training, progress), **_kept(output)
            )
            losses.clear()
            run.save()
            report("train", run.step, experiment.steps)


def _step(run: _Run, batch: Batch, progress: Progress, device: torch.device) -> tuple[float, Output]:
    training = run.experiment.training
    torch.manual_seed(step_seed(training.seed, progress.step))
    factor = learning_rate(training, progress)
    for group in run.optimiser.param_groups:
        group["lr"] = group["peak"] * factor
    run.model.prepare(progress)
    output = run.model(present(run.model, batch, device))
    loss = run.model.loss(output, torch.from_numpy(batch.labels).to(device), progress)
    run.optimiser.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(run.model.parameters(), training.clip_norm)
    run.optimiser.step()
    return loss.item(), output


def _kept(output: Output) -> dict[str, float]:
    frames = output.selection.frames
    return {} if frames is None else {"kept": frames.float().mean().item()}


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
