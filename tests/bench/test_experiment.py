"""Experiments: round trip, stable ids, errors that name the field and the choices."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, fields, replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import Dropout

import afnet
from afnet.contract import VideoModel
from baselines.tsm import TSM
from baselines.tsn import TSN
from bench.data.catalogue import find_dataset
from bench.data.loader import TrainingClips
from bench.errors import UserError
from bench.experiment import (
    POINT_PARTS,
    SCHEMA,
    TRAINING_PARTS,
    Data,
    Evaluation,
    Experiment,
    Model,
    Runtime,
    Timing,
    Training,
    from_dict,
    override,
)
from bench.fields import plain
from bench.methods import METHODS, build_model
from bench.settings import AFNet
from bench.training import step_seed
from tests.bench.data.test_stored import prepared_frames

experiments = st.builds(
    lambda frames, ratio, seed, lr, clips: Experiment(
        data=Data(train_clips=clips),
        model=Model("afnet", "tiny", frames, AFNet(ratio=ratio)),
        training=Training(seed=seed, lr=lr),
    ),
    frames=st.integers(1, 47),
    ratio=st.floats(0.01, 1.0),
    seed=st.integers(0, 10_000),
    lr=st.floats(1e-5, 10.0),
    clips=st.integers(16, 10**6),
)


@given(experiments)
def test_json_round_trip_keeps_experiment_and_ids(experiment: Experiment) -> None:
    again = from_dict(json.loads(json.dumps(experiment.to_dict())), "test")
    assert again == experiment
    assert (again.training_id, again.experiment_id) == (experiment.training_id, experiment.experiment_id)


@given(experiments, experiments)
def test_ids_are_equal_only_for_equal_experiments(one: Experiment, other: Experiment) -> None:
    assert (one.experiment_id == other.experiment_id) == (one == other)


def test_ids_are_the_same_in_another_process_and_from_integers() -> None:
    code = "from bench.experiment import *; print(Experiment().training_id, Experiment().experiment_id)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert out == [Experiment().training_id, Experiment().experiment_id]
    assert Experiment(training=Training(lr=1)) == Experiment(training=Training(lr=1.0))


def test_ids_are_golden() -> None:
    """A change of these is a change of every user's records: raise the schema."""
    assert (Experiment().training_id, Experiment().experiment_id) == ("f1cb351e3290", "83cd7ee23f31")


@given(experiments)
def test_ids_are_those_of_all_values_as_one_json_object(experiment: Experiment) -> None:
    """They are put together of each part's own text, which is made once."""
    for id, parts in ((experiment.training_id, TRAINING_PARTS), (experiment.experiment_id, POINT_PARTS)):
        values = {"schema": SCHEMA, **{part: asdict(getattr(experiment, part)) for part in parts}}
        text = json.dumps(values, sort_keys=True, separators=(",", ":"))
        assert id == hashlib.sha256(text.encode()).hexdigest()[: len(id)]


def test_equal_values_of_another_sign_have_ids_of_their_own() -> None:
    """0.0 == -0.0, but not as text: an id never depends on which of them was made first."""
    ids = [Experiment(training=Training(momentum=zero)).training_id for zero in (0.0, -0.0)]
    assert len(set(ids)) == 2
    assert ids[::-1] == [Experiment(training=Training(momentum=zero)).training_id for zero in (-0.0, 0.0)]


@pytest.mark.parametrize("name", METHODS)
def test_plain_values_are_those_of_asdict(name: str) -> None:
    settings = METHODS[name].settings()
    assert plain(settings) == asdict(settings) and list(plain(settings)) == list(asdict(settings))
    assert Experiment().to_dict() == {"schema": SCHEMA, **asdict(Experiment())}


def test_every_training_field_changes_both_ids_and_point_fields_only_one() -> None:
    base = Experiment()
    for change in (
        replace(base, training=Training(seed=1)),
        replace(base, data=Data(seed=1)),
        replace(base, model=Model(frames=4), evaluation=Evaluation()),
    ):
        assert change.training_id != base.training_id and change.experiment_id != base.experiment_id
    for change in (replace(base, evaluation=Evaluation(execution="masked")), replace(base, timing=Timing(rounds=5))):
        assert change.training_id == base.training_id and change.experiment_id != base.experiment_id
    assert replace(base, runtime=Runtime(threads=7)).experiment_id == base.experiment_id


def test_default_frames_of_the_evaluation_are_those_of_training() -> None:
    assert Experiment(model=Model(frames=12)).evaluation.frames == 12
    explicit = Experiment(model=Model(frames=12), evaluation=Evaluation(frames=12))
    assert explicit.experiment_id == Experiment(model=Model(frames=12)).experiment_id


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ({"model.method": "tsx"}, ["tsx", "ffn, frameexit, motion"]),
        ({"model.frames": "0"}, ["model.frames", "0", "at least 1"]),
        ({"model.frames": "48"}, ["model.frames", "48", "at most 47"]),
        ({"model.settings.ratio": "0"}, ["model.settings.ratio", "above 0"]),
        ({"model.settings.ratio": "1.1"}, ["model.settings.ratio", "at most 1"]),
        ({"model.settings.ratio": "nan"}, ["model.settings.ratio", "finite"]),
        ({"model.settings.rato": "1"}, ["model.settings.rato", "'model.settings.ratio'"]),
        ({"modle.frames": "8"}, ["modle.frames", "model.frames"]),
        ({"model.frames": "many"}, ["model.frames", "many", "int"]),
        ({"data.size": "50"}, ["data.size", "50", "multiple of 32", "64"]),
        ({"model.backbone": "vgg"}, ["vgg", "resnet50"]),
        ({"data.dataset": "imagenet"}, ["imagenet", "digits-in-motion"]),
        ({"model.settings.shift": "perhaps"}, ["model.settings.shift", "true or false"]),
        ({"data.seed": "9" * 23}, ["data.seed", "9" * 23, f"at most {2**63 - 1}"]),
        ({"training.seed": str(2**63)}, ["training.seed", f"at most {2**63 - 1}"]),
        ({"evaluation.seed": str(2**63)}, ["evaluation.seed", f"at most {2**63 - 1}"]),
        ({"model.method": "frameexit", "training.batch": "1"}, ["training.batch is 1", "frameexit", "at least 2"]),
        ({"timing.layout": "contiguous"}, ["timing.layout is 'contiguous'", "timing.optimised false"]),
        ({"timing.rounds": "1001"}, ["timing.rounds", "at most 1000"]),
        ({"timing.mode": "graph"}, ["timing.mode is 'graph'", "timing.device 'cpu'"]),
        ({"data.train_clips": "15"}, ["data.train_clips is 15", "training.batch 16", "no step"]),
        ({"evaluation.frames": "4"}, ["evaluation.frames is 4", "8 frames", "tied"]),
    ],
)
def test_mistakes_name_the_field_what_was_found_and_the_choices(assignment: dict[str, str], words: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        override(Experiment(), assignment)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_the_largest_seeds_train_draw_and_generate() -> None:
    largest = 2**63 - 1
    assert Experiment(data=Data(seed=largest), training=Training(seed=largest), evaluation=Evaluation(seed=largest))
    digits = find_dataset("digits-in-motion").open(Data(seed=largest))
    (batch,) = TrainingClips(digits, clips=2, frames=2, batch=2, part=2, seed=largest).stream(0, 1)
    assert batch.clips.any()
    torch.manual_seed(largest)
    torch.manual_seed(step_seed(largest, 0))


@pytest.mark.parametrize("name", METHODS)
def test_the_registry_and_the_networks_agree_on_any_frames(name: str) -> None:
    """Experiments are refused by the registry, before there is a network to ask."""
    method = METHODS[name]
    kinds: list[dict[str, Any]] = [{}]
    if method.settings is AFNet:
        kinds = [
            {"navigation": navigation, "context": context, "sharing": sharing}
            for navigation, context, sharing in product(
                ("learned", "random", "uniform"), ("position", "shared", "temporal"), ("block", "stage")
            )
        ]
    for kind in kinds:
        settings = method.settings(**kind)
        model = build_model(name, backbone="tiny", frames=16, classes=3, settings=settings)
        for wanted in (4, 16, 5):
            try:
                model.set_frames(wanted)
                served = True
            except ValueError:
                served = False
            assert method.serves(settings, 16, wanted) == served, (kind, wanted)


@pytest.mark.parametrize("part", ["data", "model"])
def test_a_name_that_is_no_text_is_refused(part: str) -> None:
    values = Experiment().to_dict()
    values[part]["dataset" if part == "data" else "method"] = []
    with pytest.raises(UserError, match=r"Unknown .* \[\]"):
        from_dict(values, "file")


def test_an_integer_too_large_for_a_float_is_refused() -> None:
    values = Experiment().to_dict()
    values["training"]["lr"] = 10**400
    with pytest.raises(UserError, match=r"training\.lr"):
        from_dict(values, "file")


def test_override_of_the_method_brings_its_settings() -> None:
    changed = override(Experiment(), {"model.method": "tsm", "model.settings.dropout": "0.1", "model.frames": "4"})
    assert (changed.model.method, changed.model.settings.dropout, changed.evaluation.frames) == ("tsm", 0.1, 4)  # type: ignore[attr-defined]


def test_what_a_data_set_on_disk_has_is_not_overridden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AFNET_BENCH_DATA", str(tmp_path))
    prepared_frames(tmp_path / "gestures", lengths=(4,) * 4)
    point = Experiment(data=Data("gestures"), training=Training(batch=2))
    assert (point.data.train_clips, point.data.classes) == (4, 3)
    for field, text, words in (
        ("classes", "200", "data.classes is 200; gestures has 3"),
        ("classes", "2", "data.classes is 2; gestures has 3"),
        ("train_clips", "5", "data.train_clips is 5, but gestures in .* has 4"),
        ("val_clips", "9", "data.val_clips is 9, but gestures in .* has 4"),
    ):
        with pytest.raises(UserError, match=words):
            override(point, {f"data.{field}": text})
    other = override(point, {"data.settings.decoder": "torchcodec"})
    with pytest.raises(
        UserError, match=r"decoder is 'torchcodec', of video files; gestures in .* is folders of frames"
    ):
        find_dataset("gestures").open(other.data)
    fewer = override(point, {"data.train_clips": "2", "data.val_clips": "3"})
    assert (fewer.data.train_clips, fewer.data.val_clips, fewer.data.classes) == (2, 3, 3)
    assert fewer.data.fingerprint == point.data.fingerprint
    assert override(fewer, {"data.train_clips": "0"}).data.train_clips == 4
    assert override(point, {"data.classes": "0"}).data.classes == 3


@pytest.mark.parametrize(
    "values",
    [
        [],
        {"schema": 99},
        {"schema": SCHEMA, "modle": {}},
        {"schema": SCHEMA, "model": {"frame": 8}},
        {"schema": SCHEMA, "model": 3},
    ],
)
def test_foreign_json_is_refused(values: object) -> None:
    with pytest.raises(UserError, match=r"^file|in file"):
        from_dict(values, "file")


# A value other than the default for each setting of AFNet, as an experiment writes it.
OTHER_VALUES: dict[str, Any] = {
    "ratio": 0.25, "shift": False, "dropout": 0.25, "ratio_weight": 2.0, "ratio_schedule": "linear", "warm_start": 0.1,
    "warm_end": 0.5, "temperature_schedule": "linear", "start_temperature": 2.0, "end_temperature": 0.5, "hard": False,
    "keep_bias": 3.0, "alike_start": True, "zero_init": False, "navigation": "uniform", "context": "shared",
    "sharing": "stage", "fusion": "sum", "alpha": 4, "ample_stride": 1, "spatial": "1-2", "grid": 4, "cell_ratio": 0.25,
    "cell_weight": 2.0, "cell_warm_start": 0.1, "cell_warm_end": 0.5,
}  # fmt: skip


def built_with(model: VideoModel) -> dict[str, Any]:
    """What a network was built with, by the names of the settings."""
    (dropout,) = (module.p for module in model.modules() if isinstance(module, Dropout))
    if not isinstance(model, afnet.AFNet):
        return {"dropout": dropout}
    return {"dropout": dropout, **asdict(model.design), **asdict(model.recipe)}


def build(name: str, **settings: Any) -> VideoModel:
    return build_model(name, backbone="tiny", frames=2, classes=3, settings=METHODS[name].settings(**settings))


@pytest.mark.parametrize(("name", "network"), [("tsn", TSN), ("tsm", TSM), ("afnet", afnet.AFNet)])
def test_default_settings_are_the_networks_own_defaults(name: str, network: Callable[..., VideoModel]) -> None:
    assert built_with(build(name)) == built_with(network(backbone="tiny", frames=2, classes=3))


def test_every_setting_of_the_network_can_be_set() -> None:
    fields_of_the_network = {field.name for kind in (afnet.Design, afnet.Recipe) for field in fields(kind)}
    assert set(AFNet().arguments()) == {"dropout", *fields_of_the_network} == set(OTHER_VALUES)


@pytest.mark.parametrize("setting", OTHER_VALUES)
def test_a_setting_of_afnet_reaches_the_network_and_changes_nothing_else(setting: str) -> None:
    defaults, value = built_with(build("afnet")), OTHER_VALUES[setting]
    changed = {**defaults, setting: (1, 2) if setting == "spatial" else value}
    assert changed != defaults
    assert built_with(build("afnet", **{setting: value})) == changed


@pytest.mark.parametrize("name", ["tsn", "tsm"])
def test_the_dropout_of_tsn_and_tsm_reaches_the_network(name: str) -> None:
    assert built_with(build(name, dropout=0.25)) == {"dropout": 0.25}


@pytest.mark.parametrize(
    ("text", "stages"), [("none", ()), ("1", (1,)), ("3", (3,)), ("1-2", (1, 2)), ("2-3", (2, 3)), ("1-3", (1, 2, 3))]
)
def test_stages_are_written_as_a_range(text: str, stages: tuple[int, ...]) -> None:
    assert AFNet(spatial=text).arguments()["spatial"] == stages


def test_light_commands_do_not_import_torch() -> None:
    code = (
        "import sys, afbench, bench.record, sweeps.recipes, sweeps.plan, sweeps.local, reports.site\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
