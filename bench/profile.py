"""What methods cost without data or training: parameters and multiply-adds by forms of numbers alone.

Networks are built on torch's meta device, which knows shapes and no values, and counted there by FlopCounterMode in
their "masked" and "dense" executions; what "skipped" computes at a kept ratio follows from the cost of a unit, exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import product
from typing import Any

import numpy as np
import torch

from afnet.contract import Answers, Execution, Selection, VideoModel
from afnet.inference import optimize_for_inference
from bench.device import plain_arithmetic
from bench.errors import UserError, unknown
from bench.experiment import Timing, parsed
from bench.macs import CostModel, cost_model
from bench.methods import build_model, find_method
from bench.savings import saving_realised
from bench.settings import MethodSettings
from bench.statistics import AGREEMENT, ratios
from bench.throughput import AGAIN, Forward, Input, first_of, forward_of, largest, take_turns
from bench.witnesses import reconcile


@dataclass(frozen=True)
class Profile:
    """One network at one size and ratio.

    Attributes:
        ratio: share kept of what can be left out; None where nothing can.
        gmacs: executed multiply-adds of a video, in 1e9, as "skipped" computes them; in a row with times, of what was
            timed, which whole frames may put beside the ratio.
        gmacs_dense: of the execution that ignores decisions.
        policy: the part of `gmacs` spent on deciding.
        parameters: number of weights.
        witnesses: whether fvcore, ptflops and the layers' closed form agree with torch's count.
        clips_per_second: of "skipped", a batch at once; None where nothing was timed.
        latency_ms: of one clip, median.
        saving: time saved per multiply-add saved, against "dense" of the same weights; with a 95% interval.
        again: how far apart two runs of the dense forward in the same rounds are, a ratio of their times: differences
            of this size say nothing.
        predicted_off: how far a time is off, as a share, that is read off the line through the cheapest and the dearest
            of this network's rows; None for these two.
    """

    method: str
    backbone: str
    settings: str
    frames: int
    size: int
    ratio: float | None
    gmacs: float
    gmacs_dense: float
    policy: float
    parameters: int
    witnesses: str | None = None
    clips_per_second: float | None = None
    latency_ms: float | None = None
    saving: float | None = None
    saving_low: float | None = None
    saving_high: float | None = None
    again: float | None = None
    predicted_off: float | None = None
    dtype: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values; those of timing and witnesses are left out where they were not asked for."""
        absent = (*(TIMED if self.clips_per_second is None else ()), *(["witnesses"] if self.witnesses is None else []))
        return {name: value for name, value in asdict(self).items() if name not in absent}


Samples = dict[str, list[float]]
TIMED = ("clips_per_second", "latency_ms", "saving", "saving_low", "saving_high", "again", "predicted_off", "dtype")


def profile_all(
    methods: Sequence[str],
    *,
    frames: Sequence[int],
    sizes: Sequence[int],
    ratios: Sequence[float],
    backbone: str,
    classes: int,
    assignments: dict[str, str],
    timings: Sequence[Timing | None] = (None,),
    witnesses: bool = False,
) -> list[Profile]:
    """Every method at every number of frames, size and ratio.

    Args:
        assignments: settings by name, each for the methods that have it.
        timings: how to time each row too, one way after the other.
        witnesses: whether every counter counts each network too, on the processor.

    Raises:
        UserError: as profile, for a ratio outside [0, 1], and for a setting that none of the methods has.
    """
    for ratio in ratios:
        if not 0 <= ratio <= 1:
            raise UserError(f"--ratio is {ratio:g}; expected a number from 0 to 1.")
    known = {name for method in methods for name in _names(method)}
    for name in assignments:
        if name not in known:
            raise unknown("setting", name, known, "--set")
    rows = []
    for method, count, size, timing in product(methods, frames, sizes, timings):
        settings = _settings(method, assignments)
        rows += profile(
            method,
            backbone=backbone,
            frames=count,
            size=size,
            ratios=tuple(ratios),
            classes=classes,
            settings=settings,
            timing=timing,
            witnesses=witnesses,
        )
    return rows


def _names(method: str) -> list[str]:
    return [field.name for field in fields(find_method(method).settings)]


def _settings(method: str, assignments: dict[str, str]) -> MethodSettings:
    """A method's settings with those of the assignments that it has."""
    kind = find_method(method).settings
    defaults = asdict(kind())
    own = {
        name: parsed(f"--set {name}", text, defaults[name]) for name, text in assignments.items() if name in defaults
    }
    return kind(**own)


@torch.no_grad()
def profile(
    method: str,
    *,
    backbone: str,
    frames: int,
    size: int,
    ratios: tuple[float, ...],
    classes: int,
    settings: MethodSettings,
    timing: Timing | None = None,
    witnesses: bool = False,
) -> list[Profile]:
    """Cost one network at several ratios; a single row where it leaves nothing out by ratio.

    Raises:
        UserError: for settings that clips of this size do not suit, or a network that cannot be built.
    """
    entry = find_method(method)
    if backbone not in entry.backbones:
        raise unknown("backbone", backbone, entry.backbones, f"method {method}")
    if size % entry.side_multiple:
        raise UserError(f"--size is {size}; {method} needs a multiple of {entry.side_multiple} pixels.")
    settings.check_clips(frames, size)
    try:
        with torch.device("meta"):
            model = build_model(method, backbone=backbone, frames=frames, classes=classes, settings=settings).eval()
            clips = torch.empty(1, frames, 3, size, size)
            if model.wants_answers:
                model.answers = Answers(torch.empty(1, frames, dtype=torch.bool), torch.empty(1, frames, 4))
        cost = cost_model(model, clips)
    except ValueError as error:
        raise UserError(f"{method} on {backbone} at {frames} frames of {size} pixels: {error}") from error
    parameters = sum(parameter.numel() for parameter in model.parameters())
    changed = {k: v for k, v in asdict(settings).items() if v != asdict(entry.settings())[k]}
    follows = model.expected_units(size, size, 1.0) != model.expected_units(size, size, 0.5)
    rows = []
    for ratio in ratios if follows else (1.0,):
        units = model.expected_units(size, size, ratio)
        macs = cost.static + sum(each * count for each, count in zip(cost.per_unit, units, strict=True))
        row = Profile(
            method=method,
            backbone=backbone,
            settings=" ".join(f"{name}={value}" for name, value in changed.items()),
            frames=frames,
            size=size,
            ratio=ratio if follows else None,
            gmacs=macs / 1e9,
            gmacs_dense=cost.dense / 1e9,
            policy=cost.policy / 1e9,
            parameters=parameters,
        )
        rows.append(row)
    if witnesses:
        words = _in_words(rows[0], settings, classes)
        rows = [replace(row, witnesses=words) for row in rows]
    if timing is None:
        return rows
    return _timed(rows, cost, settings, classes, timing)


def _in_words(row: Profile, settings: MethodSettings, classes: int) -> str:
    """How far the counters are from torch's count of one clip."""
    model, (clips, answers) = _ready(row, settings, classes, Timing(batch=1, optimised=False))
    model.answers = answers
    said = []
    for name, facts in reconcile(model, clips).items():
        if facts["missing"]:
            said.append(f"{name} did not count ({facts['missing']})")
        elif facts["apart"] > AGREEMENT:
            said.append(f"{name} {facts['apart']:.2%} apart")
    return ", ".join(said) or "agree"


def _timed(
    rows: list[Profile], cost: CostModel, settings: MethodSettings, classes: int, timing: Timing
) -> list[Profile]:
    """The rows of one network with its times, of random weights, all in turns.

    Every clip has the same decisions, as near the ratio as whole units allow, and a row the multiply-adds of these.
    """
    rows, offline, alone, batch = _turns(rows, cost, settings, classes, timing)
    times = {name: float(np.median(samples)) for name, samples in offline.items()}
    predicted = _predictions(rows, [times.get(str(row.ratio), 0.0) for row in rows])
    timed = []
    for row, seconds in zip(rows, predicted, strict=True):
        name = str(row.ratio) if str(row.ratio) in times else "dense"
        compared = {"dense": {"samples": offline["dense"]}}
        compared |= {"skipped": {"samples": offline[name]}} if name != "dense" else {}
        saving = saving_realised(compared, row.gmacs_dense, row.gmacs)
        values = {
            "dtype": timing.dtype,
            "clips_per_second": batch / times[name],
            "latency_ms": float(np.median(alone[name])) * 1e3,
            "saving": saving["saving_realised"],
            "saving_low": saving["saving_low"],
            "saving_high": saving["saving_high"],
            "again": float(np.median(ratios(offline[AGAIN], offline["dense"]))),
            "predicted_off": None if seconds is None else seconds / times[name] - 1,
        }
        timed.append(replace(row, **values))  # type: ignore[arg-type]
    return timed


def _turns(
    rows: list[Profile], cost: CostModel, settings: MethodSettings, classes: int, timing: Timing
) -> tuple[list[Profile], Samples, Samples, int]:
    """The rows with the multiply-adds of what is timed, samples of a batch and of one clip, and the batch that ran."""
    with plain_arithmetic(torch.device(timing.device)), torch.inference_mode():
        model, wanted = _ready(rows[0], settings, classes, timing)
        rows = [_of_whole_units(row, model, cost) for row in rows]
        skips = find_method(rows[0].method).skips

        def forwards(batch: Input) -> dict[str, Forward]:
            found = {name: _forward(model, batch, "dense", Selection()) for name in ("dense", AGAIN)}
            for row in rows if skips else ():
                forced = model.example_selection(len(batch[0]), 1.0 if row.ratio is None else row.ratio)
                found[str(row.ratio)] = _forward(model, batch, "skipped", forced)
            return found

        def attempt(batch: Input) -> None:
            for forward in forwards(batch).values():
                forward(0)

        batch = largest(wanted, attempt)
        offline, alone = (
            take_turns(forwards(each), batch[0].device, rounds=timing.rounds, warmup=timing.warmup).samples
            for each in (batch, first_of(batch, 1))
        )
    return rows, offline, alone, len(batch[0])


def _ready(row: Profile, settings: MethodSettings, classes: int, timing: Timing) -> tuple[VideoModel, Input]:
    """The network of a row as it is deployed, and a batch for it."""
    device, dtype = torch.device(timing.device), getattr(torch, timing.dtype)
    torch.manual_seed(0)
    model = build_model(row.method, backbone=row.backbone, frames=row.frames, classes=classes, settings=settings).eval()
    model = (optimize_for_inference(model) if timing.optimised else model).to(device, dtype)
    clips = torch.randn(timing.batch, row.frames, 3, row.size, row.size).to(device, dtype)
    if not model.wants_answers:
        return model, (clips, None)
    seen = torch.ones(timing.batch, row.frames, dtype=torch.bool, device=device)
    return model, (clips, Answers(seen, torch.zeros(*seen.shape, 4, device=device, dtype=dtype)))


def _forward(model: VideoModel, batch: Input, execution: Execution, forced: Selection) -> Forward:
    plain = forward_of(model, [batch], execution)

    def forward(number: int) -> None:
        with model.forcing(forced):
            plain(number)

    return forward


def _of_whole_units(row: Profile, model: VideoModel, cost: CostModel) -> Profile:
    """The row with the multiply-adds of the decisions that are timed for it."""
    if row.ratio is None:
        return row
    units = model.kept_units(model.example_selection(1, row.ratio), row.size, row.size).cpu().numpy()
    return replace(row, gmacs=float(cost.of(units)[0]) / 1e9)


def _predictions(rows: list[Profile], seconds: list[float]) -> list[float | None]:
    """What the time of each row should be, were it a line in multiply-adds through the cheapest row and the dearest.

    None for these two themselves, and where there are no others.
    """
    cheap, dear = (pick(range(len(rows)), key=lambda i: rows[i].gmacs) for pick in (min, max))
    if rows[cheap].gmacs == rows[dear].gmacs:
        return [None] * len(rows)
    slope = (seconds[dear] - seconds[cheap]) / (rows[dear].gmacs - rows[cheap].gmacs)
    return [
        None if index in (cheap, dear) else seconds[cheap] + slope * (row.gmacs - rows[cheap].gmacs)
        for index, row in enumerate(rows)
    ]
