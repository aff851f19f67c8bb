"""Timing, on a clock that only the fake model moves: exact, and over at once."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from afnet.contract import Execution, Output, VideoModel
from bench import throughput
from bench.experiment import Timing
from bench.throughput import WARMUP_ROUNDS, summarise, time_executions

# Of a clip, the first time; every further forward of the same kind takes as long again.
SECONDS: dict[Execution, float] = {"dense": 4.0, "masked": 8.0, "skipped": 1.0}
CLIPS = 5


class Slow(VideoModel):
    """Forward number n of an execution and batch size takes n * SECONDS a clip; clips hold their own number."""

    def __init__(self) -> None:
        super().__init__(frames=1, classes=2)
        self.now = 0.0
        self.calls: list[tuple[Execution, list[int]]] = []
        self.inference: set[bool] = set()

    def forward(self, clips: Tensor) -> Output:
        self.calls.append((self.execution, [int(clip) for clip in clips[:, 0, 0, 0, 0]]))
        self.inference.add(torch.is_inference_mode_enabled())
        before = sum(ex == self.execution and len(batch) == len(clips) for ex, batch in self.calls)
        self.now += before * SECONDS[self.execution] * len(clips)
        return Output(torch.zeros(len(clips), self.classes))


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Slow:
    slow = Slow()
    monkeypatch.setattr(throughput, "time", SimpleNamespace(perf_counter=lambda: slow.now))
    return slow


def clips(number: int = CLIPS) -> Tensor:
    return torch.arange(float(number)).view(-1, 1, 1, 1, 1)


def test_each_execution_has_its_own_seconds_and_warm_up_is_left_out(model: Slow) -> None:
    scenarios = time_executions(model, clips(), Timing(rounds=4), skips=True)["scenarios"]
    rounds = range(WARMUP_ROUNDS + 1, WARMUP_ROUNDS + 5)
    for name, size in (("offline", CLIPS), ("single_stream", 1)):
        assert list(scenarios[name]) == ["dense", "masked", "skipped"]
        for execution, seconds in SECONDS.items():
            timed = scenarios[name][execution]
            assert timed["samples"] == [number * seconds * size for number in rounds]
            assert timed["median"] == 5.5 * seconds * size
            assert timed["batch"] == size


def test_executions_take_turns_on_the_same_clips(model: Slow) -> None:
    time_executions(model, clips(), Timing(rounds=4), skips=True)
    rounds = WARMUP_ROUNDS + 4
    batches = [list(range(CLIPS))] * rounds + [[number % CLIPS] for number in range(rounds)]
    assert model.calls == [(execution, batch) for batch in batches for execution in ("dense", "masked", "skipped")]


def test_a_model_that_skips_nothing_is_timed_dense_alone(model: Slow) -> None:
    timed = time_executions(model, clips(), Timing(rounds=3), skips=False)
    assert {execution for execution, _ in model.calls} == {"dense"}
    assert [list(scenario) for scenario in timed["scenarios"].values()] == [["dense"], ["dense"]]


def test_the_forward_keeps_nothing_for_gradients(model: Slow) -> None:
    time_executions(model, clips(), Timing(rounds=3), skips=True)
    assert model.inference == {True}


def test_the_models_own_execution_comes_back(model: Slow) -> None:
    model.execution = "masked"
    time_executions(model, clips(), Timing(rounds=3), skips=True)
    assert model.execution == "masked"


def test_the_models_own_execution_comes_back_after_a_failure(model: Slow, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(clips: Tensor) -> Output:
        raise MemoryError

    model.execution = "masked"
    monkeypatch.setattr(model, "forward", fail)
    with pytest.raises(MemoryError):
        time_executions(model, clips(), Timing(rounds=3), skips=True)
    assert model.execution == "masked"


def test_a_summary_is_what_the_hand_finds() -> None:
    assert summarise([5.0, 1.0, 3.0, 2.0, 4.0]) == {
        "median": 3.0,
        "quartiles": [2.0, 4.0],
        "p90": pytest.approx(4.6),
        "noisy": True,
        "samples": [5.0, 1.0, 3.0, 2.0, 4.0],
    }


@pytest.mark.parametrize(("upper", "noisy"), [(104.0, False), (105.0, False), (106.0, True)])
def test_noisy_is_a_middle_half_wider_than_a_twentieth_of_the_median(upper: float, noisy: bool) -> None:
    assert summarise([1.0, 100.0, 100.0, upper, 900.0])["noisy"] is noisy
