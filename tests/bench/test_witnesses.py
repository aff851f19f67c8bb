"""Counters agree like with like, say what they cannot count, and leave no trace."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from afnet.contract import Answers, Output, VideoModel
from bench.macs import cost_model, count
from bench.methods import METHODS, build_model
from bench.witnesses import Disagreement, all_witnesses, layer_macs, reconcile, unchanged
from tests.baselines.test_samplers import SETTINGS, answered, clips, make

VIDEOS = 2


def model_of(method: str) -> VideoModel:
    if method in SETTINGS:
        model = answered(make(method), VIDEOS)
        assert isinstance(model.answers, Answers)
        return model
    torch.manual_seed(0)
    settings = METHODS[method].settings()
    return build_model(method, backbone="tiny", frames=8, classes=5, settings=settings).eval()


@pytest.mark.parametrize("method", METHODS)
def test_every_counter_sees_what_torch_sees(method: str) -> None:
    """On the model's own decisions; fvcore misses what leads to no output, as FrameExit's gates do."""
    facts = reconcile(model_of(method), clips(VIDEOS))
    assert {name: fact["missing"] for name, fact in facts.items()} == dict.fromkeys(facts, "")
    assert facts["ptflops"]["apart"] == 0 and facts["layers"]["apart"] == 0
    assert facts["fvcore"]["apart"] == 0 or (method == "frameexit" and facts["fvcore"]["apart"] < 1e-3)


@pytest.mark.parametrize("method", ["afnet", "scsampler", "arnet"])
def test_layers_add_up_to_the_masked_execution(method: str) -> None:
    model, x = model_of(method), clips(VIDEOS)
    cost = cost_model(model, x)
    everything = cost.static + sum(each * units for each, units in zip(cost.per_unit, cost.all_units, strict=True))
    assert all_witnesses(model, x)["layers"].total == everything
    assert sum(cost.modules.values()) == everything and all(name.count(".") < 2 for name in cost.modules)


@pytest.mark.parametrize("method", ["afnet", "random", "frameexit"])
def test_counting_leaves_no_trace(method: str) -> None:
    model = model_of(method)
    model.execution = "masked"
    next(model.children()).train()  # a mode that evaluation does not have, to be found again
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    modes, random_state = [module.training for module in model.modules()], torch.get_rng_state()
    with unchanged(model):
        model.eval()
        all_witnesses(model, clips(VIDEOS))
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert modes == [module.training for module in model.modules()]
    assert torch.equal(random_state, torch.get_rng_state()) and model.execution == "masked"
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


class Odd(VideoModel):
    """A linear layer on the mean frame, by a path that the subclass chooses."""

    def __init__(self) -> None:
        super().__init__(frames=2, classes=5)
        self.layer = nn.Linear(3, 5)

    def forward(self, clips: Tensor) -> Output:
        return Output(self.through(clips.mean(dim=(1, 3, 4))))

    def through(self, x: Tensor) -> Tensor:
        raise NotImplementedError


class Functional(Odd):
    def through(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.layer.weight)


class Untraceable(Odd):
    def through(self, x: Tensor) -> Tensor:
        if torch.jit.is_tracing():  # type: ignore[attr-defined]
            raise NotImplementedError("not this way")
        logits: Tensor = self.layer(x)
        return logits


class Attention(Odd):
    def through(self, x: Tensor) -> Tensor:
        tokens = self.layer(x)[:, None, None].expand(-1, 2, 7, -1)  # (N, heads, tokens, 5)
        return functional.scaled_dot_product_attention(tokens, tokens, tokens).mean(dim=(1, 2))


def test_a_counter_that_misses_something_of_a_static_network_stops_the_run() -> None:
    with pytest.raises(Disagreement) as caught:
        reconcile(Functional().eval(), torch.ones(1, 2, 3, 4, 4))
    assert all(words in str(caught.value) for words in ("layer sizes counts 0", "torch 15", "mm"))


def test_a_counter_that_cannot_count_says_why_and_the_others_go_on() -> None:
    model = Untraceable().eval()
    facts = reconcile(model, torch.ones(3, 2, 3, 4, 4))
    assert facts["fvcore"]["missing"] == "NotImplementedError: not this way" and facts["fvcore"]["total"] is None
    assert facts["torch"]["total"] == facts["ptflops"]["total"] == facts["layers"]["total"] == 15
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_attention_is_counted_on_a_processor() -> None:
    """Scores and their sum over values, of every head: two products of 7 x 7 x 5."""
    counted = count(Attention().eval(), torch.ones(3, 2, 3, 4, 4))["Global"]
    assert sum(counted.values()) == 3 * (15 + 2 * 2 * 7 * 7 * 5)


@pytest.mark.parametrize(
    ("layer", "shape", "macs"),
    [
        (nn.Conv2d(4, 6, 3, padding=1, groups=2), (2, 4, 5, 7), 2 * 5 * 7 * 6 * 9 * 2),
        (nn.Conv1d(4, 6, 3), (2, 4, 5), 2 * 3 * 6 * 3 * 4),
        (nn.Conv3d(2, 3, (1, 2, 2)), (1, 2, 4, 5, 5), 4 * 4 * 4 * 3 * 4 * 2),
        (nn.Linear(4, 6), (2, 3, 4), 2 * 3 * 24),
        (nn.GRU(4, 5, batch_first=True), (2, 3, 4), 2 * 3 * 3 * 5 * (4 + 5)),
        (nn.LSTMCell(4, 5), (2, 4), 2 * 4 * 5 * (4 + 5)),
    ],
)
def test_layers_cost_their_weights_as_often_as_they_are_applied(
    layer: nn.Module, shape: tuple[int, ...], macs: int
) -> None:
    x: Any = torch.ones(shape)
    assert layer_macs(layer, x, layer(x)) == macs
