"""Timing, on a clock that only the fake model moves: exact, and over at once."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from afnet.contract import EXECUTIONS, Answers, Execution, Output, VideoModel
from bench import throughput
from bench.errors import UserError
from bench.experiment import Timing
from bench.statistics import quantile_interval, summarise
from bench.throughput import AGAIN, WINDOW, Network, largest, settled, take_turns, time_networks

# Of a clip; masked forwards take longer and longer.
SECONDS: dict[Execution, float] = {"dense": 4.0, "masked": 8.0, "skipped": 1.0}
CLIPS = 5
CPU = torch.device("cpu")


class Slow(VideoModel):
    """Takes SECONDS a clip; clips hold their own number. More than `most` clips at once do not fit."""

    def __init__(self) -> None:
        super().__init__(frames=1, classes=2)
        self.clock = SimpleNamespace(now=0.0)
        self.calls: list[tuple[Execution, list[int]]] = []
        self.inference: set[bool] = set()
        self.most = CLIPS

    def forward(self, clips: Tensor) -> Output:
        if len(clips) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        if self.answers is not None:
            assert len(self.answers.informative) == len(clips)
        self.calls.append((self.execution, [int(clip) for clip in clips[:, 0, 0, 0, 0]]))
        self.inference.add(torch.is_inference_mode_enabled())
        self.clock.now += SECONDS[self.execution] * len(clips)
        return Output(torch.zeros(len(clips), self.classes))


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Slow:
    slow = Slow()
    monkeypatch.setattr(throughput, "time", SimpleNamespace(perf_counter=lambda: slow.clock.now))
    return slow


def clips(number: int = CLIPS) -> Tensor:
    return torch.arange(float(number)).view(-1, 1, 1, 1, 1)


def timed(model: Slow, rounds: int = 4, skips: bool = True) -> dict[str, Any]:
    executions = EXECUTIONS if skips else EXECUTIONS[:1]
    network = Network(model, clips(), model.answers, executions, executions[-1])
    (found,) = time_networks([network], Timing(rounds=rounds))
    return found


def test_each_execution_has_its_own_seconds(model: Slow) -> None:
    scenarios = timed(model)["scenarios"]
    for name, size in (("offline", CLIPS), ("single_stream", 1)):
        assert list(scenarios[name]) == ["dense", "masked", "skipped"]
        for execution, seconds in SECONDS.items():
            found = scenarios[name][execution]
            assert found["samples"] == [seconds * size] * 4
            assert found["median"] == seconds * size and found["batch"] == size and not found["noisy"]
            assert ("again" in found) == (execution == "skipped")
    assert scenarios["offline"]["skipped"]["again"] == 1.0


def test_executions_take_turns_on_the_clip_of_the_round_in_an_order_drawn_anew(model: Slow) -> None:
    timed(model, rounds=12)
    singles = [call for call in model.calls if len(call[1]) == 1]
    rounds = [singles[start : start + 4] for start in range(0, len(singles), 4)]
    for each in rounds:
        assert sorted(execution for execution, _ in each) == ["dense", "masked", "skipped", "skipped"]
        assert len({clip for _, (clip,) in each}) == 1
    # Measured are the first clips, whatever warm-up took.
    assert [each[0][1][0] for each in rounds[-12:]] == [number % CLIPS for number in range(12)]
    orders = [tuple(execution for execution, _ in each) for each in rounds[-12:]]
    assert len(set(orders)) > 4


def test_the_second_run_is_of_the_points_own_execution(model: Slow) -> None:
    network = Network(model, clips(), None, EXECUTIONS, "masked")
    (found,) = time_networks([network], Timing(rounds=4))
    offline = found["scenarios"]["offline"]
    assert [name for name in offline if "again" in offline[name]] == ["masked"]
    assert offline["masked"]["again_samples"] == [SECONDS["masked"] * CLIPS] * 4


def test_clips_that_differ_in_their_work_are_no_noise(model: Slow, monkeypatch: pytest.MonkeyPatch) -> None:
    def forward(clips: Tensor) -> Output:
        model.clock.now += float(clips.sum()) + 1
        return Output(torch.zeros(len(clips), 2))

    monkeypatch.setattr(model, "forward", forward)
    single = timed(model, rounds=10)["scenarios"]["single_stream"]
    assert single["skipped"]["samples"] == [1.0, 2.0, 3.0, 4.0, 5.0] * 2 and not single["skipped"]["noisy"]
    assert single["dense"]["noisy"]


def test_a_model_that_skips_nothing_is_timed_dense_alone(model: Slow) -> None:
    found = timed(model, skips=False)
    assert {execution for execution, _ in model.calls} == {"dense"}
    assert [list(scenario) for scenario in found["scenarios"].values()] == [["dense"], ["dense"]]


def test_networks_that_are_compared_take_turns(model: Slow) -> None:
    other = Slow()
    other.clock = model.clock
    networks = [Network(each, clips(), None) for each in (model, other)]
    order: list[str] = []
    for each, name in ((model, "one"), (other, "other")):
        each.register_forward_hook(lambda _m, _i, _o, name=name: order.append(name))
    found = time_networks(networks, Timing(rounds=3))
    assert [each["in_turns_with"] for each in found] == [2, 2]
    rounds = [order[start : start + 8] for start in range(0, len(order), 8)]
    assert all(sorted(each) == ["one"] * 4 + ["other"] * 4 for each in rounds)
    assert len(set(map(tuple, rounds))) >= 4, "in orders of their own"


def test_the_forward_keeps_nothing_for_gradients(model: Slow) -> None:
    timed(model)
    assert model.inference == {True}


@pytest.mark.parametrize("fails", [False, True])
def test_the_models_own_execution_comes_back(model: Slow, monkeypatch: pytest.MonkeyPatch, fails: bool) -> None:
    def fail(clips: Tensor) -> Output:
        raise ZeroDivisionError

    model.execution = "masked"
    if fails:
        monkeypatch.setattr(model, "forward", fail)
        with pytest.raises(ZeroDivisionError):
            timed(model)
    else:
        timed(model)
    assert model.execution == "masked"


# --- Warm-up ----------------------------------------------------------------------------------------------------------


class Clock:
    """Forwards whose n-th call takes what a list says, the last entry for ever."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(throughput, "time", SimpleNamespace(perf_counter=lambda: self.now))

    def forward(self, seconds: list[float]) -> Any:
        left = iter(seconds)
        last = seconds[-1]

        def forward(number: int) -> None:
            self.now += next(left, last)

        return forward


def test_warm_up_ends_where_times_have_settled(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    forwards = {"fast": clock.forward([1.0]), "settling": clock.forward([50.0, 30.0, 20.0, 11.0, 10.0])}
    turns = take_turns(forwards, CPU, rounds=3, warmup=1e9)
    # From the third on, rounds are 20, 11, 10, 10, of median 10.5, and 10.
    assert turns.stable and turns.warmup_rounds == 2 + 2 * WINDOW
    assert turns.samples == {"fast": [1.0] * 3, "settling": [10.0] * 3}


def test_warm_up_ends_where_its_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    turns = take_turns({"slower": clock.forward([1.1**n for n in range(100)])}, CPU, rounds=3, warmup=9.0)
    assert turns.stable is None and turns.warmup_rounds == math.ceil(math.log(9 * 0.1 + 1, 1.1))  # a geometric sum
    turns = take_turns({"slower": clock.forward([1.1**n for n in range(100)])}, CPU, rounds=3, warmup=0.0)
    assert turns.warmup_rounds == WINDOW and turns.stable is None
    turns = take_turns({"slower": clock.forward([1.1**n for n in range(100)])}, CPU, rounds=3, warmup=60.0)
    assert turns.warmup_rounds > 2 * WINDOW and turns.stable is False


@pytest.mark.parametrize(
    ("samples", "expected"),
    [([1.0] * 7, False), ([1.0] * 8, True), ([1.0] * 4 + [1.04] * 4, True), ([1.0] * 4 + [1.06] * 4, False)],
)
def test_settled_is_two_medians_within_five_per_cent(samples: list[float], expected: bool) -> None:
    assert settled(samples) is expected


# --- Memory -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("most", "fits"), [(5, 5), (4, 2), (2, 2), (1, 1)])
def test_a_batch_that_does_not_fit_is_halved(model: Slow, most: int, fits: int) -> None:
    model.most = most
    answers = Answers(torch.ones(CLIPS, 1, dtype=torch.bool), torch.zeros(CLIPS, 1, 4))
    found, key = largest((clips(), answers), lambda batch: model(batch[0]))
    assert key is not None and len(found) == len(key.informative) == len(key.regions) == fits


@pytest.mark.parametrize("words", ["DefaultCPUAllocator: can't allocate memory", "CUDNN_STATUS_ALLOC_FAILED"])
def test_one_clip_that_does_not_fit_is_a_mistake_that_is_named(words: str) -> None:
    def fail(batch: object) -> None:
        raise RuntimeError(words)

    with pytest.raises(UserError, match=r"Not even one clip of shape \(1, 1, 1, 1\).*smaller data.size"):
        largest((clips(), None), fail)


def test_other_failures_are_not_taken_for_memory() -> None:
    def fail(batch: object) -> None:
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes do not match"):
        largest((clips(), None), fail)


# --- Summaries --------------------------------------------------------------------------------------------------------


def test_a_summary_is_what_the_hand_finds() -> None:
    found = summarise([5.0, 1.0, 3.0, 2.0, 4.0])
    assert found["median"] == 3.0 and found["quartiles"] == [2.0, 4.0] and found["noisy"]
    assert found["p90"] == pytest.approx(4.6) and found["p99"] == pytest.approx(4.96)
    assert found["samples"] == [5.0, 1.0, 3.0, 2.0, 4.0]
    assert found["median_interval"] == [None, None]  # five samples bound no median at 95%: 2 * 2**-5 is more


@pytest.mark.parametrize(("upper", "noisy"), [(104.0, False), (105.0, False), (106.0, True)])
def test_noisy_is_a_middle_half_wider_than_a_twentieth_of_the_median(upper: float, noisy: bool) -> None:
    assert summarise([1.0, 100.0, 100.0, upper, 900.0])["noisy"] is noisy


def test_the_median_of_twenty_samples_lies_between_the_sixth_and_the_fifteenth() -> None:
    """As tables of the binomial distribution have it."""
    samples = [float(n) for n in range(1, 21)]
    assert quantile_interval(samples[::-1], 0.5) == [6.0, 15.0]
    assert quantile_interval(samples, 0.99) == [19.0, None]


@pytest.mark.parametrize(("quantile", "count"), [(0.5, 20), (0.5, 51), (0.9, 60)])
def test_intervals_hold_the_quantile_as_often_as_they_say(quantile: float, count: int) -> None:
    draws = np.random.default_rng(0).exponential(size=(2000, count))
    true, held = -math.log(1 - quantile), 0
    for samples in draws.tolist():
        low, high = quantile_interval(samples, quantile)
        held += (low is None or low <= true) and (high is None or true <= high)
    assert 0.94 <= held / len(draws) <= 0.995


def test_again_is_left_out_of_the_executions(model: Slow) -> None:
    assert AGAIN not in timed(model)["scenarios"]["offline"]
