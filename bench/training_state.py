"""The state of a training and the files that hold it: what it takes to go on after a kill at any moment."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from afnet.contract import Output, VideoModel
from bench.checkpoint import load_checkpoint, restore, save_checkpoint, unusable
from bench.data.batches import Batch
from bench.distributed import Team
from bench.experiment import Experiment
from bench.files import append_line, read_lines, write_text

log = logging.getLogger(__name__)

# Seconds between two checkpoints for each second that one takes: they cost a fiftieth of the time at most.
SPARING = 50


def best_file(folder: Path, step: int) -> Path:
    """Of the weights of a validation; several are there until a checkpoint says which one is the best."""
    return folder / f"best-{step}.pt"


@dataclass
class State:
    """Of a training, in one of its processes.

    Attributes:
        bad: what is wrong with each video that was left out, by its name.
        best: of all validations, -1 before the first; and the step that it was after.
    """

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
    saving: float = 0.0
    best: float = -1.0
    best_step: int = 0
    first_loss: float | None = None
    bad: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        training = self.experiment.training
        self.parts = self.team.shared(training.parts)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=training.precision == "float16")
        self.forward: Callable[[Tensor], Output] = torch.compile(self.model) if training.compiled else self.model

    def resume(self) -> bool:
        """Load the last checkpoint, if any, and cut the progress file back to it; whether there was one.

        The first process reads, and hands it to the others: what they would read may be older, or not there.
        """
        path, state = self.folder / "checkpoint.pt", None
        with self.team.together():
            if self.team.is_first:
                state = load_checkpoint(path, self.experiment.training_id)
        state = self.team.first(state)
        if state is not None:
            restore(path, state, self.model, self.optimiser)
            self.step, self.seconds, self.loading = state["step"], state["seconds"], state["loading"]
            self.best, self.best_step, self.bad = state["best"], state["best_step"], state["bad"]
            if state["scaler"]:
                self.scaler.load_state_dict(state["scaler"])
            log.info("taking up the training at step %d of %d", self.step, self.experiment.steps)
        with self.team.together():
            if self.team.is_first:
                self._cut_progress()
        self.first_loss = self.team.first(self.first_loss)
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
        write_text(path, "".join(kept))

    def log_line(self, **facts: Any) -> None:
        """Add what is known of this step to progress.jsonl; in all processes."""
        with self.team.together():
            if self.team.is_first:
                append_line(self.folder / "progress.jsonl", json.dumps({"step": self.step, **facts}))

    def taken(self, batches: Iterator[Batch]) -> Batch:
        """The next batch, the wait for it and its bad videos noted."""
        waited = time.perf_counter()
        batch = next(batches)
        self.loading += time.perf_counter() - waited
        for name, reason in batch.bad:  # the last ones are those of the last batch
            self.bad.pop(name, None)
            self.bad[name] = reason
        return batch

    def is_due(self) -> bool:
        """Whether a checkpoint is to be written now; the first process decides for all."""
        finished = self.step == self.experiment.steps
        wanted = self.experiment.runtime.checkpoint_seconds
        least = wanted and max(wanted, SPARING * self.saving)
        return self.team.first(finished or time.monotonic() - self.saved_at >= least)

    def save(self) -> None:
        """Write a checkpoint if the last one is old enough; the finished one drops the optimiser's state."""
        if not self.is_due():
            return
        for bad in self.team.gathered(self.bad):
            self.bad |= bad
        started = time.monotonic()
        with self.team.together():
            if self.team.is_first:
                save_checkpoint(self.folder / "checkpoint.pt", self._values(self.step == self.experiment.steps))
                self._drop_others()
        self.saved_at = time.monotonic()
        self.saving = self.saved_at - started

    def keep_best(self, found: float) -> None:
        """Write the weights if no validation before was as good.

        Beside those of the best one that the last checkpoint knows, which a resumed training may come back to.
        """
        if found <= self.best:
            return
        self.best, self.best_step = found, self.step
        with self.team.together():
            if self.team.is_first:
                save_checkpoint(best_file(self.folder, self.step), self._values(final=True))

    def _drop_others(self) -> None:
        """Weights of validations that are not the best one of the checkpoint just written."""
        for path in self.folder.glob("best-*.pt"):
            if path != best_file(self.folder, self.best_step):
                path.unlink()

    def load_best(self, model: VideoModel) -> None:
        """Give a model the weights of the training's best validation.

        Raises:
            UserError: where they are missing or damaged.
        """
        path, state = best_file(self.folder, self.best_step), None
        with self.team.together():
            if self.team.is_first:
                state = load_checkpoint(path, self.experiment.training_id)
                if state is None:
                    raise unusable(path, "is missing, which the training's best validation should have left")
        state = self.team.first(state)
        assert state is not None
        restore(path, state, model, None)

    def _values(self, final: bool) -> dict[str, Any]:
        return {
            "training_id": self.experiment.training_id,
            "step": self.step,
            "seconds": self.seconds,
            "loading": self.loading,
            "best": self.best,
            "best_step": self.best_step,
            "bad": self.bad,
            "scaler": self.scaler.state_dict(),
            "model": self.model.state_dict(),
            "optimiser": None if final else self.optimiser.state_dict(),
        }
