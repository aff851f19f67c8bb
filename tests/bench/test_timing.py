"""The network that is timed: as deployed, by any variant, on the point's own clips, and left as it was."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from afnet.contract import VideoModel
from bench import throughput, timing
from bench.data.batches import present
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
    assert found["throttled"] is None and set(found["state"]) == {"before", "after"}
    assert found["peak_memory_bytes"] is None and "missing" in found["energy"] and found["host_stops"] is None
    assert found["macs_per_video"] * 2 == pytest.approx(
        found["roofline"]["macs_per_second"] * found["scenarios"]["offline"]["skipped"]["median"]
    )
    assert found["pipeline"]["end_to_end"]["median"] > found["pipeline"]["loader"]["median"] > 0


def test_the_model_is_left_as_it_was() -> None:
    before = point(dtype="bfloat16", layout="contiguous", optimised=False)
    kept = {name: tensor.clone() for name, tensor in before.model.state_dict().items()}
    before.model.execution = "masked"
    measure_times([before])
    assert before.model.execution == "masked" and not before.model.optimised
    for name, tensor in before.model.state_dict().items():
        assert tensor.dtype == kept[name].dtype and torch.equal(tensor, kept[name])
        assert tensor.stride() == kept[name].stride()


@pytest.mark.parametrize(
    ("layout", "optimised"), [("channels_last", True), ("channels_last", False), ("contiguous", False)]
)
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


@pytest.mark.parametrize("execution", ["dense", "masked", "skipped"])
def test_times_and_multiply_adds_are_of_the_points_own_execution(execution: str) -> None:
    base = point()
    experiment = replace(base.experiment, evaluation=replace(base.experiment.evaluation, execution=execution))
    base.model.execution = execution  # type: ignore[assignment]
    (found,) = measure_times([Point(base.model, experiment, base.cost)])
    offline = found["scenarios"]["offline"]
    assert [name for name in offline if "again" in offline[name]] == [execution]
    assert found["roofline"]["macs_per_second"] == pytest.approx(
        2 * found["macs_per_video"] / offline[execution]["median"]
    )
    assert (found["macs_per_video"] == base.cost.dense) == (execution != "skipped")


def test_a_batch_that_does_not_fit_is_halved_for_all_that_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    tsn = point("tsn", {})
    original = type(tsn.model).forward

    def forward(self: Any, clips: torch.Tensor) -> Any:
        if len(clips) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return original(self, clips)

    monkeypatch.setattr(type(tsn.model), "forward", forward)
    (found,) = measure_times([tsn])
    assert found["requested_batch"] == 2 and found["macs_per_video"] == tsn.cost.dense
    assert {part["batch"] for part in found["pipeline"].values()} == {1}
    assert found["scenarios"]["offline"]["dense"]["batch"] == 1 and found["same_answers"] == 1.0


def test_a_device_without_room_for_its_roof_is_timed_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(timing, "find_roof", full)
    (found,) = measure_times([point("tsn", {})])
    assert found["roofline"] == {"missing": "OutOfMemoryError: CUDA out of memory"}


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
