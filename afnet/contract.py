"""What every video model owes the harness: its inputs, its output, and what it decided to compute.

Shapes, here and everywhere in the project: N videos, T frames, K classes, (C, H, W) maps. Frames travel
through a network as (N*T, C, H, W), frame-major inside a video.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, Self, TypeVar, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

Module = TypeVar("Module", bound=nn.Module)
Execution = Literal["dense", "masked", "skipped"]
EXECUTIONS: tuple[Execution, ...] = get_args(Execution)


@dataclass(frozen=True)
class Progress:
    """Where a training step stands in its run.

    Attributes:
        step: steps already taken, 0 before the first.
        steps: steps of the whole run.
    """

    step: int
    steps: int

    @property
    def fraction(self) -> float:
        """Share of the run that is done, in [0, 1]."""
        return self.step / self.steps


@dataclass(frozen=True)
class Selection:
    """What a model decided to compute. A field that does not apply to the method is None.

    Attributes:
        frames: (blocks, N, T) bool, in network order; True where the block computed the frame in full.
        cells: (blocks, N, T, 7, 7) bool, the part of each kept frame that was computed; all of it in blocks that
            compute whole frames.
        crops: (N, T, 4) float, the region looked at as (left, top, right, bottom) in pixels of the input; zeros in
            frames that were not looked at.
        resolutions: (N, T) int, the input size in pixels each frame was given; 0 where it was not looked at.
        exit_step: (N,) int, the number of frames looked at before the model answered.
    """

    frames: Tensor | None = None
    cells: Tensor | None = None
    crops: Tensor | None = None
    resolutions: Tensor | None = None
    exit_step: Tensor | None = None


@dataclass(frozen=True)
class Answers:
    """The answer key of clips, for controls that look where the label is.

    Attributes:
        informative: (N, T) bool, the frames that carry it.
        regions: (N, T, 4) float, the part of the picture that does: left, top, right, bottom in pixels; zeros where
            none.
    """

    informative: Tensor
    regions: Tensor


@dataclass(frozen=True)
class Output:
    """What a model returns.

    Attributes:
        logits: (N, K).
        selection: what was computed to get them.
        extras: differentiable tensors that the method's own loss needs; nothing else reads them.
    """

    logits: Tensor
    selection: Selection = field(default_factory=Selection)
    extras: dict[str, Tensor] = field(default_factory=dict)


class VideoModel(nn.Module):
    """A classifier of clips: `model(clips) -> Output`, clips (N, T, 3, H, W) float, normalised.

    `execution` says how the decisions are carried out in evaluation: "dense" computes every unit and ignores the
    decisions, "masked" computes everything and multiplies by the decision, "skipped" computes only what was decided
    on. The same weights give the same logits masked and skipped. Training always masks: the straight-through
    gradient of a decision needs the result of what was decided against.

    Attributes:
        frames: T, the number of frames of a clip.
        classes: K.
        any_frames: whether the trained weights serve clips of any number of frames.
        optimised: whether optimize_for_inference made it, so that it serves evaluation alone.
        forced: what replaces the model's own decisions, in the fields that apply; for profiles and tests.
        wants_answers: whether it must be given the answer key of the clips before each forward, in `answers`.
    """

    any_frames = False
    wants_answers = False

    def __init__(self, *, frames: int, classes: int) -> None:
        super().__init__()
        for name, value in (("frames", frames), ("classes", classes)):
            _check_number(name, value)
        self.frames = frames
        self.classes = classes
        self.forced = Selection()
        self.answers: Answers | None = None
        self.optimised = False
        self._execution: Execution = "skipped"

    @property
    def execution(self) -> Execution:
        return self._execution

    @execution.setter
    def execution(self, value: Execution) -> None:
        if value not in EXECUTIONS:
            raise ValueError(f"execution is {value!r}; expected one of {', '.join(EXECUTIONS)}")
        self._execution = value

    def train(self, mode: bool = True) -> Self:
        """As torch's; RuntimeError for a network whose batch-norms are folded away."""
        if mode and self.optimised:
            raise RuntimeError("this network was optimised for inference and has no batch-norms left to train")
        return super().train(mode)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """As torch's; an optimised network works in place, so it keeps no gradient."""
        if not self.optimised:
            return super().__call__(*arguments, **named)
        with torch.no_grad():
            return super().__call__(*arguments, **named)

    def prepare(self, progress: Progress) -> None:
        """Called before each training step; a method with schedules sets them here."""

    def loss(self, output: Output, labels: Tensor, progress: Progress) -> Tensor:
        """The scalar to minimise; labels (N,) int64. Methods add their own terms."""
        return functional.cross_entropy(output.logits, labels)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Parameter groups: `params`, their `kind` (see grouped_parameters) and `decay`, whether weight decay acts."""
        return grouped_parameters(self)

    def set_frames(self, frames: int) -> None:
        """Take clips of another number of frames from now on, where `any_frames` says that the weights allow it."""
        _check_number("frames", frames)
        if not self.any_frames and frames != self.frames:
            raise ValueError(
                f"the weights of this {type(self).__name__} are tied to {self.frames} frames; got {frames}"
            )
        self.frames = frames

    def unit_modules(self) -> tuple[str, ...]:
        """Names of the modules whose work depends on decisions, in the order of `kept_units`; () where none does.

        Each works in equal units: frames, pixels of a map, or whatever the method decides on.
        """
        return ()

    def policy_modules(self) -> tuple[str, ...]:
        """Names of the modules that exist only to decide; their multiply-adds are the policy's share."""
        return ()

    @contextmanager
    def forcing(self, selection: Selection) -> Iterator[None]:
        """Within it the model decides as it did to get this selection."""
        before = self.forced
        self.forced = selection
        try:
            yield
        finally:
            self.forced = before

    def all_units(self, height: int, width: int) -> tuple[int, ...]:
        """Units of each unit module for one video of this size when everything is computed, as "masked" does."""
        return (self.frames,) * len(self.unit_modules())

    def cell_maps(self, height: int, width: int) -> dict[int, tuple[int, int]]:
        """Height and width of the maps of the blocks that compute cells, by their numbers in `Selection.frames`."""
        return {}

    def expected_units(self, height: int, width: int, ratio: float) -> tuple[float, ...]:
        """Units of each unit module for one video of this size when this share of what can be left out is kept.

        For profiles, which have no data: methods that decide otherwise say here what the ratio means.
        """
        return tuple(ratio * units for units in self.all_units(height, width))

    def example_selection(self, videos: int, ratio: float) -> Selection:
        """Decisions that keep this share of what can be left out, the same in every video; for timing without data.

        As near as whole units allow. Nothing where the method keeps as much whatever it decides.
        """
        return Selection()

    def kept_units(self, selection: Selection, height: int, width: int) -> Tensor:
        """(modules, N) int64 units that a selection computes of clips of this size."""
        assert selection.frames is not None
        return selection.frames.sum(dim=2)

    def answer_key(self) -> Answers:
        """Of the clips to come; ValueError where none was given."""
        if self.answers is None:
            raise ValueError(
                f"{type(self).__name__} has no answer key; expected `answers` to be set before the forward"
            )
        return self.answers

    def check_clips(self, clips: Tensor, multiple: int = 1, smallest: int = 1) -> None:
        """Raise ValueError unless clips is (N >= 1, T, 3, H, W) with H and W multiples of `multiple`, >= `smallest`.

        They must be floats, and outside autocast of the weights' dtype.
        """
        expected = f"(N, {self.frames}, 3, H, W)"
        if clips.ndim != 5 or clips.shape[1] != self.frames or clips.shape[2] != 3:
            raise ValueError(f"clips have shape {tuple(clips.shape)}; this model expects {expected}")
        if clips.shape[0] == 0:
            raise ValueError(f"clips have shape {tuple(clips.shape)}: the batch is empty; expected N >= 1")
        weights = next(self.parameters()).dtype
        if not clips.is_floating_point() or (clips.dtype != weights and not _casts(clips, weights)):
            raise ValueError(
                f"clips are {clips.dtype} and the weights {weights}; expected normalised clips of the weights' dtype"
            )
        height, width = clips.shape[-2:]
        if height % multiple or width % multiple or min(height, width) < max(smallest, 1):
            raise ValueError(
                f"clips are {height}x{width} pixels; this network needs sides that are multiples of {multiple} and at "
                f"least {smallest}"
            )


def _check_number(name: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} is {value!r}; expected a whole number from 1")


def _casts(clips: Tensor, weights: torch.dtype) -> bool:
    """Whether autocast brings them together; it leaves doubles alone."""
    return torch.is_autocast_enabled(clips.device.type) and torch.float64 not in (clips.dtype, weights)


def grouped_parameters(
    model: nn.Module,
    *,
    classifier: Iterable[nn.Module] = (),
    navigation: Iterable[nn.Module] = (),
    policy: Iterable[nn.Module] = (),
    glance: Iterable[nn.Module] = (),
) -> list[dict[str, Any]]:
    """Sort parameters into kinds that a training recipe may treat apart.

    Kinds: "navigation", "policy" and "glance", all of their modules' parameters; "classifier weight" and "classifier
    bias"; "norm", the affine parameters of batch-norm; "bias" and "weight", all others. Decay acts on weights and on
    the first three, not on biases and norms (the released AFNet code, as TSM's).
    """
    groups: dict[str, list[nn.Parameter]] = {}
    owners = {"navigation": navigation, "policy": policy, "glance": glance, "classifier": classifier}
    owned = {id(p): kind for kind, modules in owners.items() for module in modules for p in module.parameters()}
    for module in model.modules():
        normalises = isinstance(module, nn.modules.batchnorm._BatchNorm)
        for name, parameter in module.named_parameters(recurse=False):
            kind = "norm" if normalises else "bias" if name.startswith("bias") else "weight"
            owner = owned.get(id(parameter))
            if owner == "classifier":
                kind = f"classifier {kind}"
            elif owner is not None:
                kind = owner
            groups.setdefault(kind, []).append(parameter)
    decayed = ("weight", "classifier weight", "navigation", "policy", "glance")
    return [{"params": params, "kind": kind, "decay": kind in decayed} for kind, params in groups.items()]


def lay_out_channels_last(model: Module) -> Module:
    """The model, its four-dimensional weights laid out channels-last in place.

    torch's own `to(memory_format=...)` refuses a model with three-dimensional convolutions.
    """
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.ndim == 4:
            tensor.data = tensor.data.to(memory_format=torch.channels_last)
    return model


def he_initialise(module: nn.Module) -> None:
    """Draw the weights of every convolution with He's variance for the ReLU, by what goes out."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")


def average_frames(logits: Tensor, frames: int) -> Tensor:
    """(N*T, K) logits of frames -> (N, K), their mean over a video's frames."""
    return torch.mean(logits.unflatten(0, (-1, frames)), dim=1)
