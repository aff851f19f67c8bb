"""The training recipe: learning rates, optimiser, clipping and seeds, each against its definition."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from afnet.contract import Output, Progress, VideoModel
from bench.distributed import ALONE
from bench.errors import UserError
from bench.experiment import Data, Evaluation, Experiment, Runtime, Training
from bench.methods import build_model
from bench.optimiser import learning_rate, make_optimiser
from bench.settings import AFNet, FrameAverage, MethodSettings
from bench.training import (
    Diverged,
    Score,
    make_model,
    set_up_torch,
    step_seed,
    train,
)
from bench.training_state import State
from tests.conftest import small

CPU = torch.device("cpu")
FILLING: Any = torch.utils.deterministic  # its attribute is a property that mypy does not see
LR, DECAY = 0.1, 0.01


class Slope(VideoModel):
    """Four weights whose gradient is `slope` each, whatever the clips; notes the random number each step draws."""

    def __init__(self, slope: float = 1.0) -> None:
        super().__init__(frames=4, classes=2)
        self.slope = slope
        self.weight = nn.Parameter(torch.ones(4))
        self.path: list[float] = []
        self.draws: list[float] = []

    def forward(self, clips: Tensor) -> Output:
        self.path.append(self.weight[0].item())
        self.draws.append(torch.rand(()).item())
        return Output(torch.zeros(len(clips), self.classes))

    def loss(self, output: Output, labels: Tensor, progress: Progress) -> Tensor:
        return self.slope * self.weight.sum()


def plain(steps: int, **changes: object) -> Experiment:
    """SGD without momentum, decay and warm-up, so that a step is its gradient times its rate."""
    settings = {
        "batch": 2,
        "lr": LR,
        "momentum": 0.0,
        "weight_decay": 0.0,
        "warmup": 0.0,
        "multipliers": "from-scratch",
    }
    return replace(
        small("tsn"),
        data=Data(train_clips=2 * steps, val_clips=1),
        training=Training(**{**settings, **changes}),  # type: ignore[arg-type]
    )


def trained(model: VideoModel, experiment: Experiment, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Train this model instead of the experiment's."""
    monkeypatch.setattr("bench.training.make_model", lambda experiment: model)
    train(experiment, folder, CPU, lambda *_: None)


# Learning rate --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("step", "factor"), [(0, 0.1), (4, 0.5), (8, 0.9)])
@pytest.mark.parametrize("schedule", ["cosine", "steps"])
def test_warm_up_rises_in_equal_steps(schedule: str, step: int, factor: float) -> None:
    training = Training(warmup=0.1, schedule=schedule)
    assert learning_rate(training, Progress(step, 100)) == pytest.approx(factor)


@pytest.mark.parametrize(
    ("step", "factor"),
    [(0, 1.0), (25, (1 + math.sqrt(0.5)) / 2), (50, 0.5), (75, (1 - math.sqrt(0.5)) / 2), (99, 2.467198e-4)],
)
def test_cosine_falls_from_one_to_zero(step: int, factor: float) -> None:
    assert learning_rate(Training(warmup=0.0), Progress(step, 100)) == pytest.approx(factor)


def test_cosine_goes_on_where_warm_up_ends() -> None:
    training = Training(warmup=0.1)
    rates = [learning_rate(training, Progress(step, 100)) for step in range(100)]
    assert max(rates) == rates[9] == pytest.approx((1 + math.cos(0.09 * math.pi)) / 2)
    assert rates[9:] == sorted(rates[9:], reverse=True)


@pytest.mark.parametrize(("epoch", "factor"), [(0, 1.0), (24, 1.0), (25, 0.1), (44, 0.1), (45, 0.01), (54, 0.01)])
@pytest.mark.parametrize("steps", [1, 7, 1563])
def test_steps_are_tenfold_at_epochs_25_and_45_of_55(steps: int, epoch: int, factor: float) -> None:
    training = Training(warmup=0.0, schedule="steps")
    assert learning_rate(training, Progress(epoch * steps, 55 * steps)) == pytest.approx(factor)


@pytest.mark.parametrize("schedule", ["cosine", "steps"])
def test_training_walks_at_the_scheduled_rate_and_says_so(
    schedule: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, experiment = Slope(), plain(10, schedule=schedule, warmup=0.3)
    trained(model, experiment, tmp_path, monkeypatch)
    rates = [LR * learning_rate(experiment.training, Progress(step, 10)) for step in range(10)]
    walked = [
        before - after for before, after in zip(model.path, [*model.path[1:], model.weight[0].item()], strict=True)
    ]
    assert walked == pytest.approx(rates, rel=1e-4)
    said = [json.loads(line)["lr"] for line in (tmp_path / "progress.jsonl").read_text().splitlines()]
    assert said == pytest.approx(rates)


# Optimiser ------------------------------------------------------------------------------------------------------------


def published(model: nn.Module, name: str) -> tuple[float, float]:
    """Multiplier and decay of a parameter: TSM's released code (ops/models.py, get_optim_policies), and navigation."""
    owner, _, leaf = name.rpartition(".")
    if "navigation" in owner or ".cells." in owner:
        return 10.0, DECAY
    if owner.startswith("classifier"):
        return (5.0, DECAY) if leaf == "weight" else (10.0, 0.0)
    if isinstance(model.get_submodule(owner), nn.BatchNorm2d):
        return 1.0, 0.0
    return (1.0, DECAY) if leaf == "weight" else (2.0, 0.0)


def from_scratch(model: nn.Module, name: str) -> tuple[float, float]:
    """Navigation faster, everything else alike; decay as published."""
    multiplier, decay = published(model, name)
    return (multiplier if "navigation" in name or ".cells." in name else 1.0), decay


RECIPES = {"published": published, "from-scratch": from_scratch}
NETWORKS: dict[str, tuple[str, str, MethodSettings]] = {
    "TSN": ("tsn", "tiny", FrameAverage()),
    "TSM": ("tsm", "tiny", FrameAverage()),
    "AFNet": ("afnet", "tiny", AFNet()),
    "AFNet with cells": ("afnet", "tiny", AFNet(spatial="1-2")),
    "AFNet on MobileNetV3": ("afnet", "mobilenetv3", AFNet()),
}


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("network", NETWORKS)
def test_every_parameter_has_the_rate_and_the_decay_of_its_kind(network: str, recipe: str) -> None:
    method, backbone, settings = NETWORKS[network]
    model = build_model(method, backbone=backbone, frames=4, classes=3, settings=settings)
    optimiser = make_optimiser(model, Training(lr=LR, weight_decay=DECAY, multipliers=recipe))
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    found = [
        (names[id(parameter)], (group["peak"] / LR, group["weight_decay"]))
        for group in optimiser.param_groups
        for parameter in group["params"]
    ]
    assert len(found) == len(names)
    for name, (multiplier, decay) in found:
        assert (multiplier, decay) == (pytest.approx(RECIPES[recipe](model, name)[0]), RECIPES[recipe](model, name)[1])


def test_multipliers_scale_the_steps_of_a_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Classified(Slope):
        def parameter_groups(self) -> list[dict[str, object]]:
            return [{"params": [self.weight], "kind": "classifier weight", "decay": True}]

    model = Classified()
    trained(model, plain(2, schedule="steps", multipliers="published"), tmp_path, monkeypatch)
    # The rate is tenfold lower from step 25/55 on.
    assert model.weight.tolist() == pytest.approx([1 - 5 * LR * (1 + 0.1)] * 4)


# v1 = 1, v2 = 0.9 * 1 + 1; a step is v, or where momentum looks ahead the gradient + 0.9 * v.
@pytest.mark.parametrize(("nesterov", "moved"), [(False, 1 + 1.9), (True, (1 + 0.9 * 1) + (1 + 0.9 * 1.9))])
def test_momentum_is_plain_or_nesterovs(nesterov: bool, moved: float) -> None:
    model = Slope()
    training = Training(lr=LR, momentum=0.9, nesterov=nesterov, weight_decay=0.0)
    optimiser = make_optimiser(model, training)
    for _ in range(2):
        model.weight.grad = torch.ones(4)
        optimiser.step()
    assert model.weight.tolist() == pytest.approx([1 - LR * moved] * 4)


def test_decay_shrinks_a_weight_without_gradient() -> None:
    model = Slope()
    optimiser = make_optimiser(model, Training(lr=LR, momentum=0.0, weight_decay=DECAY))
    model.weight.grad = torch.zeros(4)
    optimiser.step()
    assert model.weight.tolist() == pytest.approx([1 - LR * DECAY] * 4)


# Clipping -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("slope", "moved"), [(1e6, 20.0), (-1e6, 20.0), (9.0, 18.0)])
def test_a_step_is_no_longer_than_the_rate_times_the_clip_norm(
    slope: float, moved: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The norm of four equal slopes is twice one of them."""
    model = Slope(slope)
    trained(model, plain(1, clip_norm=20.0), tmp_path, monkeypatch)
    assert (model.weight - 1).norm().item() == pytest.approx(LR * moved, rel=1e-4)


# Seeds ----------------------------------------------------------------------------------------------------------------


def test_no_two_steps_or_seeds_share_a_seed() -> None:
    seeds = [step_seed(seed, step) for seed in range(20) for step in range(-1, 50)]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_each_step_draws_its_own_numbers_and_again_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    for run, seed in enumerate((0, 0, 1)):
        (tmp_path / str(run)).mkdir()
        model = Slope()
        torch.rand(run)  # what was drawn before a training is of no account
        trained(model, plain(5, seed=seed), tmp_path / str(run), monkeypatch)
        drawn.append(model.draws)
    assert drawn[0] == drawn[1]
    assert len({*drawn[0], *drawn[2]}) == 10


def test_weights_start_the_same_for_the_same_seed_alone() -> None:
    experiment = small("tsn")
    other_seed = replace(experiment, training=replace(experiment.training, seed=1))
    first, again, other = (make_model(one) for one in (experiment, experiment, other_seed))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(next(first.parameters()), next(other.parameters()))


# Torch ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def careless_torch(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Torch with every setting the other way, put back as it was afterwards."""
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    warns, fills = (
        torch.is_deterministic_algorithms_warn_only_enabled(),
        FILLING.fill_uninitialized_memory,
    )
    torch.set_num_threads(2)
    torch.use_deterministic_algorithms(False)
    FILLING.fill_uninitialized_memory = True
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic, warn_only=warns)
    FILLING.fill_uninitialized_memory = fills


@pytest.mark.usefixtures("careless_torch")
def test_torch_is_deterministic_without_filling_new_tensors() -> None:
    set_up_torch(1, CPU)
    assert torch.get_num_threads() == 1
    assert torch.are_deterministic_algorithms_enabled()
    assert not torch.is_deterministic_algorithms_warn_only_enabled()
    assert not FILLING.fill_uninitialized_memory
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"


@pytest.mark.usefixtures("careless_torch")
def test_cuda_warns_where_it_has_no_deterministic_kernel() -> None:
    set_up_torch(1, torch.device("cuda"))
    assert torch.are_deterministic_algorithms_enabled() and torch.is_deterministic_algorithms_warn_only_enabled()


# Parts of a step, types, optimisers -----------------------------------------------------------------------------------


def test_a_step_of_parts_takes_the_mean_of_their_gradients(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slope that rises from forward to forward: 1 and 2 in the first step, 3 and 4 in the second."""

    class Rising(Slope):
        def loss(self, output: Output, labels: Tensor, progress: Progress) -> Tensor:
            return len(self.path) * self.weight.sum()

    model = Rising()
    trained(model, plain(2, batch=2, micro_batch=1), tmp_path, monkeypatch)
    rates = [LR * learning_rate(Training(warmup=0.0), Progress(step, 2)) for step in (0, 1)]
    assert model.path == pytest.approx([1, 1, 1 - 1.5 * rates[0], 1 - 1.5 * rates[0]])
    assert model.weight[0].item() == pytest.approx(1 - 1.5 * rates[0] - 3.5 * rates[1])
    assert len(set(model.draws)) == 4


def test_parts_see_the_same_statistics_and_leave_their_mean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Counting(Slope):
        mean: Tensor
        forwards: Tensor

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("mean", torch.zeros(1))
            self.register_buffer("forwards", torch.zeros((), dtype=torch.long))
            self.seen: list[float] = []

        def forward(self, clips: Tensor) -> Output:
            output = super().forward(clips)
            self.seen.append(self.mean.item())
            self.mean += len(self.path)
            self.forwards += 1
            return output

    model = Counting()
    trained(model, plain(2, batch=2, micro_batch=1), tmp_path, monkeypatch)
    assert model.seen == [0, 0, 1.5, 1.5]  # of 1 and 2
    assert model.mean.item() == 1.5 + 3.5 and model.forwards.item() == 2


# In float16 gradients are scaled; the first step finds the scale too large and is left out.
@pytest.mark.parametrize(("precision", "left_out"), [("bfloat16", 0), ("float16", 1)])
def test_products_are_of_the_type_asked_for_and_weights_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str, left_out: int
) -> None:
    class Product(Slope):
        def loss(self, output: Output, labels: Tensor, progress: Progress) -> Tensor:
            product = self.weight @ self.weight
            self.kind = product.dtype
            return product / 2

    model = Product()
    trained(model, plain(3, precision=precision), tmp_path, monkeypatch)
    assert model.kind == getattr(torch, precision) and model.weight.dtype == torch.float32
    rates = [LR * learning_rate(Training(warmup=0.0), Progress(step, 3)) for step in range(3)]
    assert model.weight[0].item() == pytest.approx(math.prod(1 - rate for rate in rates[left_out:]), rel=0.01)


def test_adamw_walks_at_the_rate_whatever_the_slope(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Slope(0.01)
    trained(model, plain(2, optimiser="adamw", momentum=0.9), tmp_path, monkeypatch)
    rates = [LR * learning_rate(Training(warmup=0.0), Progress(step, 2)) for step in (0, 1)]
    assert model.weight[0].item() == pytest.approx(1 - sum(rates), rel=1e-4)


def test_steps_lie_where_milestones_say() -> None:
    training = Training(warmup=0.0, schedule="steps", milestones="20/50+40/50")
    factors = [learning_rate(training, Progress(step, 50)) for step in (19, 20, 39, 40)]
    assert factors == pytest.approx([1, 0.1, 0.1, 0.01])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"milestones": "0.5+0.2"}, "milestones is '0.5.0.2'; expected ascending shares"),
        ({"milestones": "x"}, "expected ascending shares"),
        ({"milestones": "25/0"}, "expected ascending shares"),
        ({"batch": 4, "micro_batch": 3}, "micro_batch is 3 and training.batch 4; expected a divisor"),
        ({"optimiser": "adamw", "nesterov": True}, "which only training.optimiser sgd has"),
        ({"precision": "int8"}, "Unknown training.precision 'int8'"),
    ],
)
def test_settings_that_cannot_be_are_named(changes: dict[str, object], words: str) -> None:
    with pytest.raises(UserError, match=words):
        Training(**changes)  # type: ignore[arg-type]


# Ends -----------------------------------------------------------------------------------------------------------------


def test_a_loss_that_runs_away_stops_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Fleeing(Slope):
        def loss(self, output: Output, labels: Tensor, progress: Progress) -> Tensor:
            return self.weight.sum() * 0 + 2.0 * 3.0**progress.step

    experiment = replace(plain(10), runtime=Runtime(threads=1, log_every=1))
    with pytest.raises(Diverged, match=r"ran away, from 2 to 54, at step 4 of 10 .* the last were 54. A lower"):
        trained(Fleeing(), experiment, tmp_path, monkeypatch)


def validating(
    folder: Path, monkeypatch: pytest.MonkeyPatch, values: list[float], cut_at: int = 0, **runtime: float
) -> tuple[Slope, State]:
    """Three epochs of a step, with these validations after each; cut off when one is asked for."""
    model, found = Slope(), iter(values)
    monkeypatch.setattr("bench.training.make_model", lambda experiment: model)
    experiment = replace(
        plain(1, epochs=3, validate=1),
        runtime=Runtime(threads=1, log_every=1, checkpoint_seconds=runtime.get("checkpoint_seconds", 0.0)),
    )

    def cut(stage: str, done: int, of: int) -> None:
        if done == cut_at:
            raise KeyboardInterrupt

    return model, train(experiment, folder, CPU, cut, validate=lambda model: Score("top1", next(found)))[1]


def test_the_best_validation_leaves_its_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Validations of 10, 30 and 20 per cent after one, two and three steps: the second one's weights are kept."""
    model, run = validating(tmp_path, monkeypatch, [10.0, 30.0, 20.0])
    last, best = model.weight[0].item(), Slope()
    run.load_best(best)
    assert best.weight[0].item() == pytest.approx(model.path[2]) != last
    assert [path.name for path in tmp_path.glob("best-*.pt")] == ["best-2.pt"]
    lines = [json.loads(line) for line in (tmp_path / "progress.jsonl").read_text().splitlines()]
    assert [(line["epoch"], line["top1"]) for line in lines if "top1" in line] == [(1, 10.0), (2, 30.0), (3, 20.0)]


def test_weights_of_a_life_that_was_lost_are_not_the_best(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A training killed between its best weights and the checkpoint after them comes to others the next time."""
    with pytest.raises(KeyboardInterrupt):
        validating(tmp_path, monkeypatch, [10.0], cut_at=1)
    with pytest.raises(KeyboardInterrupt):  # no checkpoint of the second step
        validating(tmp_path, monkeypatch, [90.0], cut_at=2, checkpoint_seconds=1e9)
    assert sorted(path.name for path in tmp_path.glob("best-*.pt")) == ["best-1.pt", "best-2.pt"]
    _, run = validating(tmp_path, monkeypatch, [5.0, 4.0])
    assert (run.best, run.best_step) == (10.0, 1)
    best = Slope()
    run.load_best(best)
    assert best.weight[0].item() < 1 and [path.name for path in tmp_path.glob("best-*.pt")] == ["best-1.pt"]


def test_without_a_validation_there_is_no_best(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, run = validating(tmp_path, monkeypatch, [10.0, 30.0, 20.0])
    (tmp_path / "best-2.pt").unlink()
    with pytest.raises(UserError, match=r"best-2.pt is missing"):
        run.load_best(Slope())
    with pytest.raises(UserError, match=r"evaluation.weights is 'best', but training.validate is 0 of 1 epochs"):
        replace(plain(1), evaluation=Evaluation(weights="best"))


def test_a_gradient_that_is_not_finite_leaves_the_weights_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though the loss is finite: a step with it would spoil the checkpoint that a resumed training begins with."""

    class Steep(Slope):
        def loss(self, output: Output, labels: Tensor, progress: Progress) -> Tensor:
            root = (self.weight - 1).abs().sum().sqrt() if progress.step == 2 else 0.0
            return super().loss(output, labels, progress) * 0 + root

    model = Steep()
    with pytest.raises(Diverged, match=r"The loss is 0, but its gradient is not finite, at step 2 of 5"):
        trained(model, replace(plain(5), runtime=Runtime(log_every=1)), tmp_path, monkeypatch)
    assert model.weight.isfinite().all()


def test_checkpoints_cost_a_fiftieth_of_the_time_at_most(tmp_path: Path) -> None:
    model, experiment = Slope(), replace(plain(9), runtime=Runtime(checkpoint_seconds=5.0))
    run = State(experiment, tmp_path, CPU, ALONE, model, make_optimiser(model, experiment.training))
    run.step, run.saved_at = 1, time.monotonic() - 30
    assert run.is_due()
    run.saving = 1.0
    assert not run.is_due()
    run.saved_at -= 21
    assert run.is_due()
    run.step, run.saved_at = run.experiment.steps, time.monotonic()
    assert run.is_due(), "the end is always kept"


def test_a_compiled_training_is_told_apart() -> None:
    assert plain(1).training_id != plain(1, compiled=True).training_id


# Of torch's own code.
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*Tensor that is not a leaf Tensor is being accessed:UserWarning")
@pytest.mark.parametrize("method", ["tsm", "afnet"])
def test_a_compiled_training_is_the_same(method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As torch.compile captures it: the code that it writes needs a compiler, and rounds otherwise."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    losses = {}
    for compiled in (False, True):
        point = small(method)
        point = replace(point, training=replace(point.training, compiled=compiled))
        (tmp_path / str(compiled)).mkdir()
        train(point, tmp_path / str(compiled), CPU, lambda *_: None)
        lines = (tmp_path / str(compiled) / "progress.jsonl").read_text().splitlines()
        losses[compiled] = [json.loads(line)["loss"] for line in lines]
    assert losses[True] == losses[False] and len(losses[True]) == 3
