"""Profiles: published costs of published networks, and doors."""

from __future__ import annotations

import pytest

from bench import profile
from bench.errors import UserError
from bench.experiment import Timing
from bench.methods import METHODS
from bench.profile import Profile, profile_all
from bench.throughput import Turns

TINY_ARNET = {"smaller": "tiny+tiny", "sizes": "64+48+40", "glance": "tiny-glance", "glance_size": "32", "hidden": "8"}
SOMETHING = {"per": "video", "head": "average", "glance_frames": "8", "hidden": "1024"}
# Method, frames, classes, settings, published GFLOPs. Sources: docs/rivals.md.
PUBLISHED = [
    ("tsm", 8, 174, {}, 32.7),
    ("adafocus-v2", 16, 200, {"patch": "96", "shift": "false"}, 17.6),
    ("adafocus-v2", 16, 200, {"patch": "128", "shift": "false"}, 27.0),
    ("adafocus-v2", 16, 200, {"patch": "160", "shift": "false"}, 39.0),
    ("adafocus-v2", 12, 174, {"patch": "128", **SOMETHING}, 18.5),
    ("adafocus-v2", 12, 174, {"patch": "144", **SOMETHING}, 23.5),
    ("adafocus-v2", 12, 174, {"patch": "160", **SOMETHING}, 27.5),
    ("adafocus-v2", 12, 174, {"patch": "176", **SOMETHING}, 33.7),
    ("ocsampler", 10, 200, {"keep": "4", "shift": "false"}, 17.5),
    ("ocsampler", 10, 200, {"keep": "5", "shift": "false"}, 21.6),
    ("ocsampler", 10, 200, {"keep": "6", "shift": "false"}, 25.7),
    ("frameexit", 10, 200, {}, 41.2),
]


def one(method: str, frames: int = 8, classes: int = 174, **options: object) -> list[Profile]:
    arguments: dict[str, object] = {"sizes": [224], "ratios": [1.0], "backbone": "resnet50", "assignments": {}}
    return profile_all([method], frames=[frames], classes=classes, **{**arguments, **options})  # type: ignore[arg-type]


@pytest.mark.parametrize(("method", "frames", "classes", "settings", "published"), PUBLISHED)
def test_published_costs_within_two_per_cent(
    method: str, frames: int, classes: int, settings: dict[str, str], published: float
) -> None:
    (row,) = one(method, frames, classes, assignments=settings)
    assert row.gmacs == pytest.approx(published, rel=0.02)
    assert row.gmacs <= row.gmacs_dense and row.policy < row.gmacs


@pytest.mark.parametrize("method", METHODS)
def test_every_method_has_a_profile(method: str) -> None:
    sizes = {"patch": "32", "keep": "4", "glance_frames": "16" if method == "uni-adafocus" else "0"}
    own = {name: value for name, value in sizes.items() if hasattr(METHODS[method].settings(), name)}
    rows = one(method, 16, backbone="tiny", sizes=[224], ratios=[0.25, 1.0], assignments=own)
    assert all(0 < row.gmacs <= row.gmacs_dense * 1.0001 and row.parameters > 0 for row in rows)
    # By a ratio where it keeps a share of something, one row where it does not.
    assert [row.ratio for row in rows] in ([0.25, 1.0], [None])
    assert len(rows) == 1 or rows[0].gmacs < rows[1].gmacs


def test_afnet_follows_the_ratio_exactly() -> None:
    rows = one("afnet", 8, ratios=[0.0, 0.5, 1.0])
    none, half, full = (row.gmacs for row in rows)
    assert half == pytest.approx((none + full) / 2) and full == pytest.approx(23.029, abs=1e-3)


def test_a_row_with_times_has_the_multiply_adds_of_the_whole_frames_that_were_timed() -> None:

    def profiled(ratio: float, timing: Timing | None = None) -> Profile:
        (row,) = one("arnet", 7, ratios=[ratio], backbone="tiny", sizes=[32], assignments=TINY_ARNET, timings=[timing])
        return row

    timed = profiled(0.25, Timing(batch=1, rounds=3))
    assert timed.clips_per_second
    assert timed.gmacs == pytest.approx(profiled(2 / 7).gmacs) != profiled(0.25).gmacs


def test_a_time_between_two_is_compared_with_the_line_through_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a clock by which a clip takes 1 s and 2 s a unit kept, but 0.5 s more in the middle."""
    seconds = {"dense": 18.0, "again": 18.9, "0.0": 2.0, "0.5": 10.5, "1.0": 18.0}

    def fake(forwards: dict[str, object], *_: object, **__: object) -> Turns:
        return Turns({name: [seconds[name]] * 3 for name in forwards}, 0, True)

    monkeypatch.setattr(profile, "take_turns", fake)
    rows = one("afnet", 8, backbone="tiny", sizes=[64], ratios=[0.0, 0.5, 1.0], timings=[Timing(batch=2, rounds=3)])
    assert [row.predicted_off for row in rows] == [None, pytest.approx(10 / 10.5 - 1), None]
    assert [row.clips_per_second for row in rows] == [1.0, pytest.approx(2 / 10.5), pytest.approx(2 / 18)]
    assert rows[0].latency_ms == 2000.0 and rows[0].dtype == "float32" and rows[0].again == pytest.approx(1.05)


def test_witnesses_agree_or_are_named() -> None:
    (row,) = one("tsm", 2, backbone="tiny", sizes=[64], witnesses=True)
    assert row.witnesses == "agree" == row.to_dict()["witnesses"]
    glance = {"glance": "tiny-glance", "glance_size": "32"}
    (row,) = one("scsampler", 8, backbone="tiny", sizes=[64], witnesses=True, assignments=glance)
    assert row.witnesses == "agree"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"ratios": [1.5]}, ["--ratio is 1.5", "from 0 to 1"]),
        ({"assignments": {"pach": "96"}}, ["setting 'pach'", "patch"]),
        ({"assignments": {"patch": "300"}}, ["patch is 300", "224", "for example 112"]),
        ({"assignments": {"patch": "wide"}}, ["--set patch is 'wide'", "int"]),
        ({"sizes": [200]}, ["--size is 200", "multiple of 32"]),
        ({"backbone": "resnet51"}, ["resnet51", "resnet50"]),
        ({"frames": 0}, ["frames is 0", "expected"]),
    ],
)
def test_mistakes_are_named(options: dict[str, object], words: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        one("adafocus-v2", **options)  # type: ignore[arg-type]
    assert all(word in str(caught.value) for word in words), caught.value
