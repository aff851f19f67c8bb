"""One experiment, described in full: what is trained on what, how, and which inference point is measured.

Frozen dataclasses nested by concern, JSON both ways, and two keys. `training_id` hashes data, model and training: the
same id, the same checkpoint. `experiment_id` adds evaluation and timing: one checkpoint serves many points. A hash is
taken of the whole resolved value, never of a difference from defaults. `runtime` holds what cannot change a result
(beyond the rounding of another thread count, which the record keeps) and is in no hash.
"""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from bench.data.catalogue import find_dataset
from bench.errors import UserError, unknown
from bench.fields import Checked, choice, from_mapping, number, plain, switch
from bench.methods import find_method
from bench.settings import MethodSettings
from bench.weights import digest_of

# Raised when a field changes its meaning, so that old ids are not mistaken for new ones.
SCHEMA = 7
TRAINING_PARTS = ("data", "model", "training")
POINT_PARTS = (*TRAINING_PARTS, "evaluation", "timing")
ID_LENGTH = 12
# NumPy's and torch's generators, and the tables of a report, all hold 64 bits with a sign.
LARGEST_SEED = 2**63 - 1
SEEDS = {"at_least": 0, "at_most": LARGEST_SEED}


@dataclass(frozen=True)
class Data(Checked):
    """Which clips. `settings` are the data set's own; what is left open is resolved on creation, from the data set."""

    dataset: str = choice("digits-in-motion", "name")
    size: int = number(64, "pixels, side of the square input", at_least=8)
    train_clips: int = number(0, "videos of an epoch; 0 is all of them (of a generated data set 6400)", at_least=0)
    val_clips: int = number(0, "videos; 0 is all of them (of a generated data set 480)", at_least=0)
    classes: int = number(0, "classes; 0 is as many as there are", at_least=0)
    fingerprint: str = choice("", "of lists, classes and pictures on disk; empty takes what is there")
    seed: int = number(0, "seed of a generated data set, or of which videos where not all are taken", **SEEDS)
    # Resolved to the data set's defaults on creation; nobody reads a None.
    settings: Checked = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        dataset = find_dataset(self.dataset)
        _resolve_settings(self, dataset.settings, f"data set {self.dataset}")
        super().__post_init__()
        for name, value in dataset.resolved(self).items():
            object.__setattr__(self, name, value)


@dataclass(frozen=True)
class Model(Checked):
    """Which network. `settings` are the method's own."""

    method: str = choice("afnet", "name")
    backbone: str = choice("tiny", "name")
    frames: int = number(8, "frames a clip", at_least=1)
    # Resolved to the method's defaults on creation; nobody reads a None.
    settings: MethodSettings = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        method = find_method(self.method)
        if self.backbone not in method.backbones:
            raise unknown("backbone", self.backbone, method.backbones, f"method {self.method}")
        _resolve_settings(self, method.settings, f"method {self.method}")
        super().__post_init__()


@dataclass(frozen=True)
class Training(Checked):
    """How it is trained, one recipe for every method."""

    seed: int = number(0, "seed of weights, order, sampling and noise", **SEEDS)
    epochs: int = number(1, "passes over the training clips", at_least=1)
    batch: int = number(16, "clips a step, of all processes together", at_least=1)
    micro_batch: int = number(
        0, "clips a forward, over which batch statistics are taken; a step sums several; 0 is the batch", at_least=0
    )
    optimiser: str = choice("sgd", "name", "sgd", "adamw")
    lr: float = number(0.05, "learning rate at its peak", above=0)
    momentum: float = number(0.9, "share; of AdamW, of its first moment", at_least=0, below=1)
    nesterov: bool = switch(False, "momentum looks ahead (the published recipes have it without)")
    weight_decay: float = number(5e-4, "per step and unit of learning rate", at_least=0)
    warmup: float = number(0.05, "share of the steps with a rising rate", at_least=0, below=1)
    schedule: str = choice("cosine", "shape of the learning rate after warm-up", "cosine", "steps")
    milestones: str = choice("25/55+45/55", "shares of the run at which steps divide the rate by ten")
    multipliers: str = choice("published", "learning rates per kind of parameter", "published", "from-scratch")
    clip_norm: float = number(20.0, "largest norm of the gradient", above=0)
    precision: str = choice("float32", "of the forward's products", "float32", "bfloat16", "float16")
    compiled: bool = switch(False, "the forward is compiled by torch.compile")
    validate: int = number(0, "epochs between two validations, which keep the best weights; 0 is none", at_least=0)
    weights: str = choice("", "digest of those that the networks start from; empty is random ones, or runtime.weights")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.nesterov and not self.momentum:
            raise UserError(
                "training.nesterov is true and training.momentum 0; expected a momentum that can look ahead."
            )
        if self.nesterov and self.optimiser != "sgd":
            raise UserError("training.nesterov is true, which only training.optimiser sgd has; expected false.")
        if self.micro_batch and self.batch % self.micro_batch:
            raise UserError(
                f"training.micro_batch is {self.micro_batch} and training.batch {self.batch}; expected a divisor of it."
            )
        self.parsed_milestones()

    @property
    def parts(self) -> int:
        """Forwards of a step."""
        return self.batch // (self.micro_batch or self.batch)

    def parsed_milestones(self) -> list[float]:
        """Shares of the run.

        Raises:
            UserError: where they are no ascending numbers between 0 and 1.
        """
        found = list(_shares(self.milestones))
        if not found or found != sorted(set(found)) or not 0 < found[0] <= found[-1] < 1:
            raise UserError(
                f"training.milestones is {self.milestones!r}; expected ascending shares of the run, for example "
                "20/50+40/50."
            )
        return found


@lru_cache
def _shares(text: str) -> tuple[float, ...]:
    """Numbers of milestones, none where it holds anything else."""
    try:
        return tuple(float(Fraction(share)) for share in text.split("+"))
    except (ValueError, ZeroDivisionError):
        return ()


@dataclass(frozen=True)
class Evaluation(Checked):
    """Which inference point of the checkpoint is measured."""

    frames: int = number(0, "frames a clip; 0 is as many as in training", at_least=0)
    execution: str = choice("skipped", "how decisions are carried out", "dense", "masked", "skipped")
    decisions: str = choice(
        "argmax", "argmax of the policy's logits, or drawn with its training noise", "argmax", "noisy"
    )
    seed: int = number(0, "seed of noisy decisions", at_least=0, at_most=LARGEST_SEED)
    batch: int = number(32, "clips a forward, all of a video at least; drawn decisions depend on it", at_least=1)
    clips: int = number(1, "clips of a video, whose logits are averaged", at_least=1)
    crops: int = number(1, "crops of a clip: 1 in the centre, or 3 along its longer side", at_least=1, at_most=3)
    budget: int = number(0, "frames of each video that every block computes; 0 leaves it to the method", at_least=0)
    weights: str = choice("last", "of the training's end, or of its best validation", "last", "best")
    threshold: float = number(0.5, "probability at which a gate answers early", above=0, at_most=1)


@dataclass(frozen=True)
class Timing(Checked):
    """How it is timed."""

    device: str = choice("cpu", "where", "cpu", "cuda")
    dtype: str = choice("float32", "of weights and clips", "float32", "bfloat16", "float16")
    batch: int = number(16, "clips a forward in the offline scenario", at_least=1)
    rounds: int = number(20, "interleaved rounds over the executions", at_least=3, at_most=1000)
    warmup: float = number(1.0, "seconds before them at most, less where times settle earlier", at_least=0)
    layout: str = choice("channels_last", "of pixels and weights", "channels_last", "contiguous")
    mode: str = choice("eager", "how operators are launched", "eager", "compile", "graph")
    optimised: bool = switch(True, "the network as afnet.optimize_for_inference leaves it, for every method alike")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.mode == "graph" and self.device != "cuda":
            raise UserError(f"timing.mode is 'graph' and timing.device {self.device!r}; CUDA graphs need 'cuda'.")
        if self.layout == "contiguous" and self.optimised and self.device == "cpu":
            raise UserError(
                "timing.layout is 'contiguous' and timing.optimised true; the optimised network computes channels-last "
                "on a processor, expected timing.optimised false with that layout."
            )


@dataclass(frozen=True)
class Runtime(Checked):
    """What cannot change a result and stays out of both ids."""

    device: str = choice(
        "auto", "where to train and evaluate; auto takes CUDA where there is one", "auto", "cpu", "cuda"
    )
    threads: int = number(0, "CPU threads; 0 is one per core this process may use", at_least=0)
    workers: int = number(
        -1, "processes that make clips; -1 is one per core for videos on disk, none for generated ones", at_least=-1
    )
    log_every: int = number(10, "steps between two lines of progress", at_least=1)
    checkpoint_seconds: float = number(
        5.0, "least time between two checkpoints; fewer where they take long", at_least=0
    )
    weights: str = choice("", "folder of the weights that networks start from; empty starts from random ones")


@dataclass(frozen=True)
class Experiment(Checked):
    """Everything about one point."""

    data: Data = field(default_factory=Data)
    model: Model = field(default_factory=Model)
    training: Training = field(default_factory=Training)
    evaluation: Evaluation = field(default_factory=Evaluation)
    timing: Timing = field(default_factory=Timing)
    runtime: Runtime = field(default_factory=Runtime)

    def __post_init__(self) -> None:
        if self.evaluation.frames == 0:
            object.__setattr__(self, "evaluation", dataclasses.replace(self.evaluation, frames=self.model.frames))
        if self.runtime.weights and not self.training.weights:
            digest = digest_of(self.model, Path(self.runtime.weights))
            object.__setattr__(self, "training", dataclasses.replace(self.training, weights=digest))
        self._check_clips()
        self._check_point()

    def _check_clips(self) -> None:
        """UserError unless the clips suit the method and fill at least one step."""
        multiple = find_method(self.model.method).side_multiple
        if self.data.size % multiple:
            raise UserError(
                f"data.size is {self.data.size}; {self.model.method} on {self.model.backbone} needs a side that is a "
                f"multiple of {multiple} pixels, for example {max(round(self.data.size / multiple), 1) * multiple}."
            )
        if not self.steps:
            raise UserError(
                f"data.train_clips is {self.data.train_clips} and training.batch {self.training.batch}, which gives no "
                "step of training, since a batch that is not full is dropped; expected at least as many clips as a "
                "batch has."
            )
        fewest = self.model.settings.smallest_batch
        if self.training.batch < fewest or 0 < self.training.micro_batch < fewest:
            raise UserError(
                f"training.batch is {self.training.batch} and micro_batch {self.training.micro_batch}; "
                f"{self.model.method} with these settings takes statistics over clips, expected at least {fewest}."
            )
        self.model.settings.check_clips(self.model.frames, self.data.size)
        dataset = find_dataset(self.data.dataset)
        dataset.check_frames(self.data, max(self.model.frames, self.evaluation.frames))
        if find_method(self.model.method).answers and not dataset.answers:
            raise UserError(
                f"{self.model.method} looks where the label is, which {self.data.dataset} does not know; expected "
                "digits-in-motion, or another method."
            )

    def _check_point(self) -> None:
        """UserError unless the trained weights can be measured as the evaluation asks."""
        method, frames = find_method(self.model.method), self.evaluation.frames
        if not method.serves(self.model.settings, self.model.frames, frames):
            raise UserError(
                f"evaluation.frames is {frames}, but {self.model.method} is trained with {self.model.frames} frames "
                f"and its weights are tied to that number by its settings; expected {self.model.frames}."
            )
        if self.evaluation.decisions == "noisy" and not method.draws:
            raise UserError(
                f"evaluation.decisions is 'noisy', but {self.model.method} draws nothing; expected 'argmax'."
            )
        if self.evaluation.threshold != Evaluation.threshold and not method.exits:
            raise UserError(
                f"evaluation.threshold is {self.evaluation.threshold:g}, but {self.model.method} does not answer "
                f"early; expected {Evaluation.threshold:g}."
            )
        views = (self.evaluation.clips, self.evaluation.crops)
        if views != (1, 1) and not find_dataset(self.data.dataset).multiple_views:
            raise UserError(
                f"evaluation.clips and crops are {views[0]} and {views[1]}; {self.data.dataset} gives one view of a "
                "video, expected 1 and 1."
            )
        validate, epochs = self.training.validate, self.training.epochs
        if self.evaluation.weights == "best" and not 0 < validate <= epochs:
            raise UserError(
                f"evaluation.weights is 'best', but training.validate is {validate} of {epochs} epochs, so nothing "
                "finds out which are; expected training.validate=1 for a validation each epoch, or 'last'."
            )
        if self.evaluation.crops == 2:
            raise UserError("evaluation.crops is 2; expected 1, in the centre, or 3 along the longer side.")
        most = frames if method.budgets else 0
        if self.evaluation.budget > most:
            raise UserError(
                f"evaluation.budget is {self.evaluation.budget}; {self.model.method} on {frames} frames takes "
                f"{f'0 to {most}' if most else '0, since it has no such knob'}."
            )

    @property
    def steps(self) -> int:
        """Optimiser steps of the training; a last batch that is not full is dropped."""
        return self.training.epochs * (self.data.train_clips // self.training.batch)

    @cached_property
    def training_id(self) -> str:
        return _hash(self, TRAINING_PARTS)

    @cached_property
    def experiment_id(self) -> str:
        return _hash(self, POINT_PARTS)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, with the schema version."""
        return {"schema": SCHEMA, **plain(self)}

    def training_dict(self) -> dict[str, Any]:
        """Of these, what `training_id` is made of."""
        return {"schema": SCHEMA, **{part: plain(getattr(self, part)) for part in TRAINING_PARTS}}


def _hash(experiment: Experiment, parts: tuple[str, ...]) -> str:
    """Of the parts and the schema version as one canonical JSON object, whose keys are in order."""
    texts = {"schema": str(SCHEMA), **{part: getattr(experiment, part).canonical for part in parts}}
    text = ",".join(f'"{name}":{texts[name]}' for name in sorted(texts))
    return hashlib.sha256(f"{{{text}}}".encode()).hexdigest()[:ID_LENGTH]


def _resolve_settings(part: Checked, kind: type[Checked], owner: str) -> None:
    settings = getattr(part, "settings")  # noqa: B009
    if settings is None:
        settings = kind()
    elif isinstance(settings, dict):
        settings = from_mapping(kind, settings, f"the settings of {owner}")
    elif type(settings) is not kind:
        raise UserError(f"{owner} got settings of type {type(settings).__name__}; expected {kind.__name__}.")
    object.__setattr__(part, "settings", settings)


KINDS: dict[str, type[Checked]] = {
    "data": Data,
    "model": Model,
    "training": Training,
    "evaluation": Evaluation,
    "timing": Timing,
    "runtime": Runtime,
}


def from_dict(values: object, where: str) -> Experiment:
    """The experiment of parsed JSON; unknown fields, parts and schema versions are refused.

    Raises:
        UserError: naming `where`, the part and the field.
    """
    if not isinstance(values, dict):
        raise UserError(f"{where} holds {type(values).__name__}; expected an object.")
    if values.get("schema") != SCHEMA:
        raise UserError(f"{where} has schema {values.get('schema')!r}; this version reads schema {SCHEMA}.")
    for name in values:
        if name != "schema" and name not in KINDS:
            raise unknown("part", name, KINDS, where)
    parts = {name: from_mapping(kind, values.get(name, {}), f"{where}: {name}") for name, kind in KINDS.items()}
    return Experiment(**parts)  # type: ignore[arg-type]


def override(experiment: Experiment, assignments: dict[str, str]) -> Experiment:
    """Change fields by dotted name, as a command line says them: {"model.settings.ratio": "0.25"}.

    A new method or data set comes with its own default settings, a data set with its own videos too; a new
    model.frames is also that of the evaluation where both were the same.

    Raises:
        UserError: unknown part or field, with the valid ones; a value that does not parse.
    """
    values = plain(experiment)
    changed = {path.partition(".")[0] for path in assignments}
    if "model.method" in assignments:
        values["model"] |= {"method": assignments["model.method"], "settings": None}
    if assignments.get("data.dataset", experiment.data.dataset) != experiment.data.dataset:
        kept = {name: values["data"][name] for name in ("size", "seed")}
        values["data"] = {**kept, "dataset": assignments["data.dataset"]}
    if "model.frames" in assignments and experiment.evaluation.frames == experiment.model.frames:
        values["evaluation"]["frames"] = 0
        changed.add("evaluation")
    # What a new method or data set brings is there to be changed too.
    values |= {part: plain(KINDS[part](**values[part])) for part in ("model", "data") if part in changed}
    if any(path in ("data.classes", "data.train_clips", "data.val_clips") for path in assignments):
        # Looked up anew, and held against what there is.
        values["data"] |= {"fingerprint": "", "classes": 0}
    for path, text in assignments.items():
        *parents, leaf = path.split(".")
        target: Any = values if parents else None
        for name in parents:
            target = target.get(name) if isinstance(target, dict) else None
        if not isinstance(target, dict) or leaf not in target or isinstance(target[leaf], dict):
            raise unknown("field", path, _paths(values))
        target[leaf] = parsed(path, text, target[leaf])
    # What is not changed is kept, and so are its texts.
    parts: dict[str, Any] = {part: KINDS[part](**values[part]) for part in changed}
    return dataclasses.replace(experiment, **parts)


def _paths(values: dict[str, Any], prefix: str = "") -> list[str]:
    found: list[str] = []
    for name, value in values.items():
        found += _paths(value, f"{prefix}{name}.") if isinstance(value, dict) else [prefix + name]
    return found


def parsed(path: str, text: str, current: object) -> object:
    """The text as a value of the type that the field has now."""
    if isinstance(current, bool):
        if text.lower() not in ("true", "false"):
            raise UserError(f"{path} is {text!r}; expected true or false.")
        return text.lower() == "true"
    try:
        return type(current)(text)  # type: ignore[call-arg]
    except ValueError:
        raise UserError(f"{path} is {text!r}; expected a value of type {type(current).__name__}.") from None
