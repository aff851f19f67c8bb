"""Where recipes start from: one experiment for each method on each data set and network.

Digits in motion and the small networks are trained from nothing, in minutes; real videos follow the recipes that were
published for them, one for all methods. Recipes change one to three fields of a base, so that points which are the same
have the same ids, whichever recipe they come from.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from bench.data.catalogue import DIGITS, StoredSettings, find_dataset
from bench.errors import UserError, unknown
from bench.experiment import Data, Evaluation, Experiment, Model, Timing, Training
from bench.methods import METHODS, find_method
from bench.settings import BACKBONES

# Networks for pictures of 64 pixels; all others are for 224.
SMALL = ("tiny", "tiny-glance")

# --- From nothing: generated clips, and small networks, which have no weights to start from. --------------------------

# One pass over clips that are generated as they are needed.
FROM_SCRATCH = Training(epochs=1, batch=16, lr=0.08, nesterov=True, schedule="cosine", multipliers="from-scratch")
TRAIN_CLIPS, VAL_CLIPS = 6400, 480
# Clips have 48 frames, all of which cannot be sampled.
DIGITS_FRAMES = 32
# Enough for intervals, in a demo's time.
QUICK = Timing(batch=8, rounds=12, warmup=0.2)
SETTINGS_FROM_SCRATCH: dict[str, dict[str, Any]] = {
    "afnet": {
        # The published settings start from ImageNet weights and take 150,000 steps; these start from nothing and take
        # 400.
        "zero_init": False,
        # Low enough that drops are drawn from the start. Where they are not (4.0), blocks still tell informative frames
        # from the others, but some settle on keeping the others.
        "keep_bias": 1.5,
        "alike_start": True,
        # A map for each position learns from one frame in eight and settles on positions (measured; see the README).
        "context": "shared",
        "ratio_weight": 3.0,
        "warm_start": 27 / 55,
        "warm_end": 33 / 55,
        "end_temperature": 0.5,
    },
    # Short explorations: the recogniser must learn on what the policy chooses, and has 400 steps in all.
    "scsampler": {"explore": 0.2},
    # The published reward fails from scratch, see docs/rivals.md.
    "ocsampler": {"explore": 0.25, "joint": True, "reward": "label", "entropy": 0.01},
    "frameexit": {"beta": 0.3},
}

# --- Small networks: what is looked at, in pixels, and how wide it is. ------------------------------------------------

GLANCE: dict[str, Any] = {"glance": "tiny-glance", "glance_size": 32}
# What one looks at matters more than how much: two frames of eight, evenly or by a glance at small pictures.
TWO: dict[str, Any] = {"keep": 2}
PATCH: dict[str, Any] = {"patch": 32}
SMALL_SETTINGS: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("uniform", "random", "motion", "best-frame", "oracle-frames"), TWO),
    "scsampler": {**TWO, **GLANCE},
    "ocsampler": {**TWO, **GLANCE},
    "arnet": {"smaller": "tiny+tiny", "sizes": "64+48+40", "hidden": 64, **GLANCE},
    "frameexit": {"width": 128, "gate_width": 16},
    **dict.fromkeys(("centre-crop", "random-crop", "oracle-crop"), PATCH),
    "adafocus": {**PATCH, "hidden": 64, **GLANCE},
    "adafocus-v2": {**PATCH, "per": "video", "head": "average", "hidden": 64, **GLANCE},
    "uni-adafocus": {
        **PATCH,
        "glance": "tiny-glance",
        "glance_size": 64,
        "glance_frames": 4,
        "keep": 8,
        "width": 128,
        "hidden": 16,
    },
}
SMALL_FRAMES = {"ffn": 16}  # the last of its counts, 4, 8 and 16

# --- As published: 224 pixels, ImageNet weights (--set runtime.weights=FOLDER), the papers' data sets. ----------------
# Sources by method: docs/rivals.md. Clips a forward (micro_batch) are this project's choice: four or eight GPUs may
# share a step.

STEPS = Training(schedule="steps", warmup=0.0)
# BeSpontaneous/AFNet-pytorch: Something-Something, and Jester.
SOMETHING = replace(STEPS, epochs=55, batch=32, micro_batch=8, lr=0.01, weight_decay=5e-4, milestones="25/55+45/55")
# mit-han-lab/temporal-shift-module: Kinetics.
KINETICS = replace(STEPS, epochs=50, batch=128, micro_batch=16, lr=0.02, weight_decay=1e-4, milestones="20/50+40/50")
# LeapLabTHU/AdaFocusV2: ActivityNet, FCVID and Mini-Kinetics.
UNTRIMMED = Training(epochs=50, batch=32, micro_batch=8, lr=0.002, weight_decay=1e-4, schedule="cosine", warmup=0.0)
BY_MOTION = ("something-something-v1", "something-something-v2", "jester")
PUBLISHED = {
    "kinetics-400": KINETICS,
    **dict.fromkeys(("activitynet", "fcvid", "mini-kinetics", "mini-kinetics-80k"), UNTRIMMED),
}
PUBLISHED_CLIPS = {
    # AFNet-pytorch resizes to 240 x 320 whatever the video's shape.
    **dict.fromkeys(BY_MOTION, StoredSettings(height=240, width=320)),
    "kinetics-400": StoredSettings(sampling="dense"),
}
# Ten evenly spaced clips, as temporal-shift-module tests dense samples.
PUBLISHED_VIEWS = {"kinetics-400": Evaluation(clips=10)}
PUBLISHED_SETTINGS: dict[str, dict[str, Any]] = {
    "scsampler": {"keep": 10},
    "ocsampler": {"keep": 6},
    "adafocus": {"patch": 96},
    "adafocus-v2": {"dropout": 0.2},
    "uni-adafocus": {"dropout": 0.2, "hidden": 128},
}
# As AdaFocusV2 has it on Something-Something: 8 frames glanced at, one place a video.
ONE_PLACE: dict[str, Any] = {"per": "video", "head": "average", "glance_frames": 8, "hidden": 1024}
PUBLISHED_FRAMES = {
    **dict.fromkeys(("ffn", "scsampler", "arnet", "adafocus", "adafocus-v2"), 16),
    **dict.fromkeys(("ocsampler", "frameexit"), 10),
    "uni-adafocus": 48,
}


def base(method: str, dataset: str = DIGITS, backbone: str = "") -> Experiment:
    """Where recipes start from for a method.

    Args:
        backbone: tiny on digits in motion and resnet50 elsewhere, where none is given.

    Raises:
        UserError: for an unknown name, a data set that is not on this machine, a method that is not built on that
            network or needs the answer key of a data set that has none.
    """
    find_method(method)
    backbone = network_on(dataset, backbone)
    small, published = backbone in SMALL, not _from_scratch(dataset, backbone)
    data = _data(dataset, small=small)
    kind = find_method(method).settings
    frames = (SMALL_FRAMES if small else PUBLISHED_FRAMES).get(method, 8)
    if find_dataset(dataset).generated:
        frames = min(frames, DIGITS_FRAMES)
    return Experiment(
        data=data,
        model=Model(method, backbone, frames, kind(**_settings(method, dataset, small=small, published=published))),
        training=_training(data, published=published),
        evaluation=PUBLISHED_VIEWS.get(dataset, Evaluation()),
        timing=QUICK if small else Timing(device="cuda"),
    )


def network_on(dataset: str, backbone: str) -> str:
    """The network that is meant.

    Raises:
        UserError: for one that there is not.
    """
    if backbone and backbone not in BACKBONES:
        raise unknown("backbone", backbone, BACKBONES)
    return backbone or ("tiny" if find_dataset(dataset).generated else "resnet50")


def suited(methods: Iterable[str], dataset: str, backbone: str) -> list[str]:
    """Of these methods, those that are built on a network and need no answer key that the data set has not.

    Raises:
        UserError: where none is.
    """
    name, answers = network_on(dataset, backbone), find_dataset(dataset).answers
    asked = list(methods)
    found = [each for each in asked if name in METHODS[each].backbones and (answers or not METHODS[each].answers)]
    if not found:
        raise UserError(f"None of {', '.join(asked)} is built on {name} for {dataset}; expected another backbone.")
    return found


def _from_scratch(dataset: str, backbone: str) -> bool:
    return find_dataset(dataset).generated or backbone in SMALL


def _data(dataset: str, *, small: bool) -> Data:
    size = 64 if small else 224
    if find_dataset(dataset).generated:
        return Data(dataset=dataset, size=size, train_clips=TRAIN_CLIPS, val_clips=VAL_CLIPS)
    settings = StoredSettings() if small else PUBLISHED_CLIPS.get(dataset, StoredSettings())
    return Data(dataset=dataset, size=size, settings=settings)


def _settings(method: str, dataset: str, *, small: bool, published: bool) -> dict[str, Any]:
    sizes = (SMALL_SETTINGS if small else PUBLISHED_SETTINGS).get(method, {})
    if method == "adafocus-v2" and dataset in BY_MOTION and not small:
        sizes = {**sizes, **ONE_PLACE}
    return sizes if published else {**sizes, "dropout": 0.0, **SETTINGS_FROM_SCRATCH.get(method, {})}


def _training(data: Data, *, published: bool) -> Training:
    recipe = PUBLISHED.get(data.dataset, SOMETHING)
    if not published:
        recipe = FROM_SCRATCH if find_dataset(data.dataset).generated else replace(FROM_SCRATCH, epochs=recipe.epochs)
    # Of a data set smaller than a batch no step could be made.
    return recipe if recipe.batch <= data.train_clips else replace(recipe, batch=data.train_clips, micro_batch=0)


# --- What recipes do with them. ---------------------------------------------------------------------------------------


def trained(point: Experiment, *, frames: int = 0, **settings: Any) -> Experiment:
    """The point with other settings of its method, or of so many frames; it is measured at those of its training."""
    changed = replace(point.model.settings, **settings)
    model = replace(point.model, frames=frames or point.model.frames, settings=changed)
    return replace(point, model=model, evaluation=replace(point.evaluation, frames=model.frames))


def measured(point: Experiment, **evaluation: Any) -> Experiment:
    """The same training, measured otherwise."""
    return replace(point, evaluation=replace(point.evaluation, **evaluation))


def shortened(point: Experiment) -> Experiment:
    """Two steps and a few videos on a processor: the whole way in seconds, with meaningless accuracies.

    A large network takes minutes, though it sees small pictures where its settings name no number of pixels.
    """
    small = point.model.backbone in SMALL
    videos = 32 if small else 4
    bound = any(hasattr(point.model.settings, name) for name in ("patch", "sizes", "glance_size"))
    data = replace(
        point.data,
        size=point.data.size if small or bound else 64,
        train_clips=min(videos, point.data.train_clips),
        val_clips=min(videos, point.data.val_clips),
    )
    training = replace(point.training, epochs=1, batch=max(data.train_clips // 2, 1), micro_batch=0)
    mode = "eager" if point.timing.mode == "graph" else point.timing.mode
    timing = replace(point.timing, device="cpu", mode=mode, rounds=3, warmup=0.0)
    if small:
        return replace(point, data=data, training=training, timing=timing)
    evaluation = replace(point.evaluation, clips=1, crops=1, batch=2)
    return replace(point, data=data, training=training, evaluation=evaluation, timing=replace(timing, batch=2))
