"""The network that is timed: as deployed, by any variant, on the point's own clips, and left as it was."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from afnet.contract import VideoModel
from bench import throughput, timing
from bench.data.loader import present
from bench.errors import UserError
from bench.evaluation import first_clips
from bench.experiment import Experiment, Timing
from bench.macs import cost_model
from bench.timing import Point, measure_times
from bench.training import make_model
from tests.conftest import small

CPU = torch.device("cpu")


def point(method: str = "afnet", settings: dict[str, Any] | None = None, **changes: Any) -> Point:
    own = {"keep_bias": 1.2, "zero_init": False} if settings is None else settings
    experiment: Experiment = small(method, **own)
    experiment = replace(experiment, timing=Timing(batch=2, rounds=3, warmup=0.0, **changes))
    model: VideoModel = make_model(experiment).eval()
    return Point(model, experiment, cost_model(model, present(model, first_clips(experiment, 2), CPU)))


def test_a_record_says_how_when_and_beside_what() -> None:
    (found,) = measure_times([point()])
    assert (found["dtype"], found["layout"], found["mode"], found["optimised"]) == (
        "float32", "channels_last", "eager", True
    )  # fmt: skip
    assert found["throttled"] is False and set(found["state"]) == {"before", "after"}
    assert found["peak_memory_bytes"] is None and "missing" in found["energy"] and found["host_stops"] > 0
    assert found["macs_per_video"] * 2 == pytest.approx(
        found["roofline"]["macs_per_second"] * found["scenarios"]["offline"]["skipped"]["median"]
    )
    assert found["pipeline"]["end_to_end"]["median"] > found["pipeline"]["loader"]["median"] > 0


def test_the_model_is_left_as_it_was() -> None:
    before = point(dtype="bfloat16", layout="contiguous")
    kept = {name: tensor.clone() for name, tensor in before.model.state_dict().items()}
    before.model.execution = "masked"
    measure_times([before])
    assert before.model.execution == "masked" and not before.model.optimised
    for name, tensor in before.model.state_dict().items():
        assert tensor.dtype == kept[name].dtype and torch.equal(tensor, kept[name])
        assert tensor.stride() == kept[name].stride()


@pytest.mark.parametrize("layout", ["channels_last", "contiguous"])
@pytest.mark.parametrize("optimised", [True, False])
def test_weights_and_clips_lie_as_they_should(layout: str, optimised: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[bool, bool]] = []
    original = throughput.time_networks

    def spy(networks: Any, settings: Timing) -> Any:
        (network,) = networks
        weights = [p for p in network.model.parameters() if p.ndim == 4 and min(p.shape[1:3]) > 1]
        seen.append((all(p.is_contiguous() for p in weights), network.clips.is_contiguous()))
        return original(networks, settings)

    monkeypatch.setattr(timing, "time_networks", spy)
    measure_times([point("tsm", {}, layout=layout, optimised=optimised)])
    assert seen == [(layout == "contiguous", layout == "contiguous")]


def test_points_are_timed_with_their_own_number_of_frames_and_clips() -> None:
    tsn = point("tsn", {})
    longer = replace(tsn.experiment, evaluation=replace(tsn.experiment.evaluation, frames=8))
    model = make_model(longer).eval()
    model.set_frames(8)
    other = Point(model, longer, cost_model(model, present(model, first_clips(longer, 2), CPU)))
    short, long = measure_times([tsn, other])
    assert long["macs_per_video"] == 2 * short["macs_per_video"] and short["in_turns_with"] == 2


def test_an_oracle_is_timed_with_its_answers() -> None:
    oracle = point("oracle-frames", {"keep": 2})
    (found,) = measure_times([oracle])
    assert found["scenarios"]["single_stream"]["skipped"]["batch"] == 1


def test_compiled_forwards_are_the_compilers(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def compiler(forward: Callable[..., Any]) -> Callable[..., Any]:
        def compiled(clips: Any) -> Any:
            calls.append(len(clips))
            return forward(clips)

        return compiled

    monkeypatch.setattr(torch, "compile", compiler)
    (found,) = measure_times([point("tsn", {}, mode="compile")])
    assert found["mode"] == "compile" and {1, 2} == set(calls)


def test_what_the_compiler_cannot_do_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def compiler(forward: Callable[..., Any]) -> Callable[..., Any]:
        def compiled(clips: Any) -> Any:
            raise NotImplementedError("no C++ compiler\nmore lines")

        return compiled

    monkeypatch.setattr(torch, "compile", compiler)
    with pytest.raises(UserError, match=r"torch.compile cannot run TSN: NotImplementedError: no C\+\+ compiler\. "):
        measure_times([point("tsn", {}, mode="compile")])
