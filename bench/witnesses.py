"""Independent counts of one forward, reconciled like with like: torch, fvcore, ptflops, and the layers' closed form.

Counters differ in what they count. Compared are the multiply-adds of convolutions, linear and recurrent layers, and
matrix products; what a counter adds to them is kept apart and named:

- torch: FlopCounterMode, halved. Sees every operator that ran, functional code too. The canonical number.
- fvcore: traces one forward and counts what leads to its output; adds normalisation, resampling and pooling. What it
  has no formula for, and modules it never saw called, are kept.
- ptflops, its "aten" backend: sees every operator that ran; adds the biases of layers.
- layers: the closed form, from the sizes of the layers that were called and of what came out of them. Of the "masked"
  execution, where nothing is skipped, since skipping also computes without layers.

Counting leaves no trace: weights, buffers, hooks, modes and random numbers are as before.
"""

from __future__ import annotations

import copy
import io
import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from afnet.contract import VideoModel
from bench.environment import package_version
from bench.macs import count, total
from bench.statistics import AGREEMENT


@dataclass(frozen=True)
class Witness:
    """What one counter says of a forward.

    Attributes:
        counter: its name and version.
        macs: multiply-adds of a video by operator; empty where it could not count.
        beyond: what it counts in addition, by operator.
        ignored: operators without a formula, and how often it met them.
        uncalled: modules that it never saw called.
        missing: why it could not count; empty where it could.
    """

    counter: str
    macs: dict[str, float] = field(default_factory=dict)
    beyond: dict[str, float] = field(default_factory=dict)
    ignored: dict[str, int] = field(default_factory=dict)
    uncalled: tuple[str, ...] = ()
    missing: str = ""

    @property
    def total(self) -> float:
        """Multiply-adds of a video."""
        return sum(self.macs.values())


class Disagreement(RuntimeError):
    """Counters differ on a network whose cost depends on nothing."""


class Logits(nn.Module):
    """A model whose output a tracer understands."""

    def __init__(self, model: VideoModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, clips: Tensor) -> Tensor:
        """(N, T, 3, H, W) -> (N, K)."""
        logits: Tensor = self.model(clips).logits
        return logits


def all_witnesses(model: VideoModel, clips: Tensor) -> dict[str, Witness]:
    """Count the model's forward of clips (N, T, 3, H, W) in its execution by every counter, by name.

    A counter that fails is a witness with a reason in place of numbers.
    """
    found = {}
    for name, counter in COUNTERS.items():
        with unchanged(model):
            try:
                found[name] = counter(model, clips)
            # Counters are other people's code on any model: whatever they raise is the reason, and the record keeps it.
            except Exception as error:
                found[name] = Witness(_versioned(name), missing=f"{type(error).__name__}: {str(error)[:200]}")
    return found


def reconcile(model: VideoModel, clips: Tensor) -> dict[str, Any]:
    """Every witness, for the record, and how far each is from the count it should be.

    Raises:
        Disagreement: where two differ by more than AGREEMENT on a network that decides nothing, with the difference by
            operator.
    """
    found = all_witnesses(model, clips)
    masked = _masked_total(model, clips)
    facts: dict[str, Any] = {}
    for name, witness in found.items():
        expected = masked if name == "layers" else found["torch"].total
        apart = None if witness.missing or not expected else abs(witness.total - expected) / expected
        facts[name] = {**asdict(witness), "total": None if witness.missing else witness.total, "apart": apart}
        if apart is not None and apart > AGREEMENT and not model.policy_modules() and not model.unit_modules():
            raise Disagreement(
                f"{type(model).__name__}: {witness.counter} counts {witness.total:.0f} multiply-adds a video, torch "
                f"{expected:.0f}; by operator {witness.macs} against {found['torch'].macs}"
            )
    return facts


@contextmanager
def unchanged(model: VideoModel) -> Iterator[None]:
    """Within it, anything may be done to execution, modes and random numbers; afterwards they are as before."""
    execution, modes = model.execution, {module: module.training for module in model.modules()}
    devices = [parameter.device for parameter in model.parameters() if parameter.is_cuda][:1]
    # Recurrent layers are one operator in cuDNN, which no counter knows.
    with torch.random.fork_rng(devices=devices), torch.no_grad(), torch.backends.cudnn.flags(enabled=False):
        torch.manual_seed(0)  # decisions that are drawn are drawn alike for every counter
        try:
            yield
        finally:
            model.execution = execution
            for module, mode in modes.items():
                module.training = mode


def _masked_total(model: VideoModel, clips: Tensor) -> float:
    with unchanged(model):
        model.execution = "masked"
        return total(count(model, clips), "Global") / len(clips)


def _versioned(name: str) -> str:
    return {"layers": "layer sizes"}.get(name) or f"{name} {package_version(name)}"


def _by_torch(model: VideoModel, clips: Tensor) -> Witness:
    counted = count(model, clips)["Global"]
    macs = {operator.removeprefix("aten."): value / len(clips) for operator, value in counted.items()}
    return Witness(_versioned("torch"), macs)


def _copy(model: VideoModel, clips: Tensor) -> Logits:
    """For counters whose hooks stay, always or where they fail. What is computed once and kept is computed."""
    own = Logits(copy.deepcopy(model))
    own(clips)
    return own


# --- fvcore -----------------------------------------------------------------------------------------------------------

FVCORE_PRODUCTS = {"conv", "linear", "addmm", "mm", "matmul", "bmm", "einsum", "gru", "lstm_cell"}


def _by_fvcore(model: VideoModel, clips: Tensor) -> Witness:
    with warnings.catch_warnings():
        # Of torch, that tracing is old; of the tracer, of values that it takes for constants.
        warnings.simplefilter("ignore")
        from fvcore.nn import FlopCountAnalysis

        analysis = FlopCountAnalysis(_copy(model, clips), clips).unsupported_ops_warnings(False)
        analysis = analysis.uncalled_modules_warnings(False).tracer_warnings("none")
        # It has no formula for these.
        analysis = analysis.set_op_handle("aten::gru", _gru_macs).set_op_handle("aten::lstm_cell", _lstm_cell_macs)
        counted = {name: value / len(clips) for name, value in analysis.by_operator().items()}
        return Witness(
            _versioned("fvcore"),
            macs={name: value for name, value in counted.items() if name in FVCORE_PRODUCTS},
            beyond={name: value for name, value in counted.items() if name not in FVCORE_PRODUCTS},
            ignored=dict(analysis.unsupported_ops()),
            uncalled=tuple(sorted(name.removeprefix("model.") for name in analysis.uncalled_modules())),
        )


def _shape(value: Any) -> list[int]:
    return list(value.type().sizes())


def _weights_macs(inputs: list[Any], rows: int) -> int:
    """Each matrix among a recurrent operator's inputs is applied to every row once."""
    shapes = [_shape(value) for value in inputs if value.isCompleteTensor()]
    return rows * sum(math.prod(shape) for shape in shapes if len(shape) == 2)


def _gru_macs(inputs: list[Any], outputs: list[Any]) -> float:
    """aten::gru(input (N, T, C), h0 (layers, N, D), weights, ...); weights are matrices and biases."""
    x, _, weights = inputs[:3]
    return float(_weights_macs(list(weights.node().inputs()), math.prod(_shape(x)[:2])))


def _lstm_cell_macs(inputs: list[Any], outputs: list[Any]) -> float:
    """aten::lstm_cell(input (N, C), states, w_ih, w_hh, ...)."""
    return float(_weights_macs(list(inputs[2:4]), _shape(inputs[0])[0]))


# --- ptflops ----------------------------------------------------------------------------------------------------------


def _by_ptflops(model: VideoModel, clips: Tensor) -> Witness:
    """With a real input, since its own is uninitialised."""
    from ptflops import get_model_complexity_info

    own, said, biases = _copy(model, clips), io.StringIO(), [0]
    with redirect_stdout(said):
        counted, _ = get_model_complexity_info(
            own,
            (1,),
            input_constructor=lambda _: clips,
            as_strings=False,
            print_per_layer_stat=False,
            verbose=False,
            backend="aten",
            custom_modules_hooks=_without_biases(biases),
        )
    if counted is None:  # on any error, which it prints
        raise RuntimeError(said.getvalue().strip().splitlines()[-1])
    beyond = {"biases": sum(biases) / len(clips)}
    return Witness(_versioned("ptflops"), macs={"all": counted / len(clips)}, beyond=beyond)


def _without_biases(biases: list[int]) -> dict[Any, Callable[[Any, Any], int]]:
    """Its own formulas, told that there is no bias; what a bias would have added goes into the list."""
    from ptflops.aten_ops import addmm_flop, conv_flop

    def conv(inputs: Any, outputs: Any) -> int:
        inputs = inputs[:9]
        bare = int(conv_flop((*inputs[:2], None, *inputs[3:]), outputs))
        biases.append(int(conv_flop(inputs, outputs)) - bare)
        return bare

    def addmm(inputs: Any, outputs: Any) -> int:
        bare = int(addmm_flop((None, *inputs[1:3]), outputs))
        biases.append(int(addmm_flop(inputs, outputs)) - bare)
        return bare

    return {torch.ops.aten.convolution: conv, torch.ops.aten._convolution: conv, torch.ops.aten.addmm: addmm}


# --- Closed form ------------------------------------------------------------------------------------------------------


def _by_layers(model: VideoModel, clips: Tensor) -> Witness:
    macs: dict[str, float] = {}

    def hook(layer: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        kind = type(layer).__name__
        macs[kind] = macs.get(kind, 0) + layer_macs(layer, inputs[0], output) / len(clips)

    handles = [module.register_forward_hook(hook) for module in model.modules() if isinstance(module, LAYERS)]
    try:
        with unchanged(model):
            model.execution = "masked"
            model(clips)
    finally:
        for handle in handles:
            handle.remove()
    return Witness(_versioned("layers"), macs)


RECURRENT = (nn.RNNBase, nn.RNNCellBase)
LAYERS = (nn.modules.conv._ConvNd, nn.Linear, *RECURRENT)


def layer_macs(layer: nn.Module, x: Tensor, output: Any) -> int:
    """Multiply-adds of one call of a layer: of its weights, each as often as it is applied.

    Args:
        x: its input; output: what it returned.
    """
    if isinstance(layer, nn.modules.conv._ConvNd):
        out: Tensor = output
        kernel = math.prod(layer.kernel_size)
        return out.numel() * kernel * layer.in_channels // layer.groups
    if isinstance(layer, nn.Linear):
        return x.numel() // layer.in_features * layer.in_features * layer.out_features
    rows = x.numel() // x.shape[-1]
    return rows * sum(weight.numel() for weight in layer.parameters() if weight.ndim == 2)


COUNTERS: dict[str, Callable[[VideoModel, Tensor], Witness]] = {
    "torch": _by_torch,
    "fvcore": _by_fvcore,
    "ptflops": _by_ptflops,
    "layers": _by_layers,
}
