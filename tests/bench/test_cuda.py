"""What only a GPU can show; skipped where there is none."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from bench.data.batches import present
from bench.device import host_stops, peak_memory, state
from bench.evaluation import first_clips
from bench.experiment import Timing
from bench.macs import cost_model
from bench.timing import Point, measure_times
from bench.training import make_model
from tests.conftest import small

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")]
CUDA = torch.device("cuda", 0)


def point(method: str, settings: dict[str, Any], budget: int = 0, **changes: Any) -> Point:
    experiment = small(method, **settings)
    timing = Timing(device="cuda", batch=4, rounds=5, warmup=0.5, **changes)
    evaluation = replace(experiment.evaluation, budget=budget)
    experiment = replace(experiment, timing=timing, evaluation=evaluation)
    model = make_model(experiment).eval().to(CUDA)
    if budget:
        model.budget = budget  # type: ignore[assignment]
    return Point(model, experiment, cost_model(model, present(model, first_clips(experiment, 4), CUDA)))


@pytest.mark.parametrize("mode", ["eager", "graph", "compile"])
@pytest.mark.parametrize(("method", "settings", "budget"), [("tsm", {}, 0), ("afnet", {"zero_init": False}, 2)])
def test_every_mode_gives_a_whole_timing(mode: str, method: str, settings: dict[str, Any], budget: int) -> None:
    (found,) = measure_times([point(method, settings, budget, mode=mode)])
    assert found["mode"] == mode and found["same_answers"] == 1.0
    assert found["peak_memory_bytes"] > 0 and found["host_stops"] is not None
    assert "missing" in found["energy"] or found["energy"]["joules_per_video"] > 0
    assert found["roofline"]["utilisation"] > 0


def test_a_replayed_graph_answers_for_the_clips_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    from bench import timing

    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    original = timing._launched_as

    def spy(mode: str, network: Any) -> None:
        with torch.inference_mode():
            network.model.execution = "dense"
            eager = [network.model(clip).logits.clone() for clip in network.clips.split(1)[:2]]
            original(mode, network)
            network.model.execution = "dense"
            seen.extend(
                (one, network.model(clip).logits.clone())
                for one, clip in zip(eager, network.clips.split(1), strict=False)
            )

    monkeypatch.setattr(timing, "_launched_as", spy)
    measure_times([point("tsm", {}, mode="graph")])
    assert not torch.allclose(seen[0][0], seen[1][0])
    for eager, replayed in seen:
        torch.testing.assert_close(replayed, eager, atol=1e-3, rtol=1e-3)


def test_peak_memory_is_of_one_network_whatever_else_lies_there() -> None:
    x = torch.ones(1 << 20, device=CUDA)
    alone = peak_memory(lambda: x + 1, CUDA, x.numel() * 4)
    other = torch.ones(1 << 24, device=CUDA)
    assert peak_memory(lambda: x + 1, CUDA, x.numel() * 4) == alone == 2 * x.numel() * 4
    del other


def test_waiting_for_the_device_is_counted() -> None:
    x = torch.ones(8, device=CUDA)
    assert host_stops(lambda: x + 1, CUDA) == 0
    assert host_stops(lambda: (x.sum().item(), x.nonzero()), CUDA) == 2


def test_the_card_says_how_it_is_or_why_not() -> None:
    found = state(CUDA, lambda: torch.ones(8, device=CUDA) + 1)
    assert "missing" in found or (found["core_mhz"] > 0 and isinstance(found["throttled"], bool))
