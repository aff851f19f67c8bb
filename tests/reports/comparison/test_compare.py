"""Comparisons of two sides: right numbers and honest sentences."""

from __future__ import annotations

import copy
import hashlib
import json
import re
import subprocess
import sys
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from afbench import main
from bench.errors import UserError
from bench.experiment import Evaluation
from bench.metrics import mean_average_precision
from reports.comparison.all_pairs import all_pairs
from reports.comparison.compare import Comparison, compare
from reports.comparison.printed import as_json, as_text
from reports.load import load_records
from reports.statistics import interval, resamples, sign_test
from tests.reports.records import VIDEOS, Writer, answers, point, several

HALVES = r"on the other, A - B is ([-+.\d]+) \(([-+.\d]+) to ([-+.\d]+), p [=<] ([\d.e-]+)\), and p above is no smaller"


def compared(write: Writer, a: str = "tsn", b: str = "tsm", **options: str) -> Comparison:
    return compare(load_records([write.runs]), a, b, **options)


def test_two_trainings_get_mcnemar_and_say_that_they_are_two(write: Writer) -> None:
    b = answers(0.5)
    a = b.copy()
    a[np.flatnonzero(~b)[:14]] = True
    a[np.flatnonzero(b)[:2]] = False
    write(point("tsn"), a)
    write(point("tsm"), b)
    found = compared(write)
    assert found.difference is not None
    assert found.difference.value == pytest.approx(100 * 12 / VIDEOS, abs=1e-3)
    assert found.difference.p == pytest.approx(sign_test(14, 2), rel=1e-5)
    assert "McNemar" in found.test and "14 videos, B alone in 2" in found.test
    assert found.difference.low > 0
    assert found.sentence.startswith("Of these two trainings, TSN 4f is ahead of TSM 4f by 20.00 points of top-1")
    assert "points of top-1 at 1 GFLOPs (A - B: " in found.sentence
    assert "nothing is said of the methods" in found.sentence and "not corrected" in found.sentence
    assert found.covers.startswith("videos alone")


def test_a_difference_that_is_not_significant_is_not_called_equal(write: Writer) -> None:
    write(point("tsn"), answers(0.6, 1))
    write(point("tsm"), answers(0.6, 2), gmacs=3)
    found = compared(write)
    assert found.difference is not None
    low, high = found.difference.low, found.difference.high
    assert low < 0 < high
    assert "These two trainings, TSN 4f and TSM 4f, cannot be told apart, A at 1 and B at 3 GFLOPs: " in found.sentence
    assert "does not make them equal" in found.sentence
    assert f"below {low:+.2f} or above {high:+.2f} points are excluded" in found.sentence
    assert f"within ±{max(-low, high):.2f}" in found.sentence


def test_sides_swapped_give_the_same_mirrored(write: Writer) -> None:
    for frames, method in product((4, 8), ("tsn", "tsm")):
        write(point(method, frames), answers(0.4 + frames / 20, frames + len(method)), gmacs=frames)
    one, other = compared(write).difference, compared(write, "tsm", "tsn").difference
    assert one is not None and other is not None
    assert (one.value, one.low, one.high, one.p) == pytest.approx((-other.value, -other.high, -other.low, other.p))


def test_the_same_answers_exclude_no_more_than_so_many_videos_can(write: Writer) -> None:
    for method in ("tsn", "tsm"):
        write(point(method), answers(0.6))
    found = compared(write)
    assert found.difference is not None and found.difference.p == 1
    assert found.difference.high == pytest.approx(100 * (1 - 0.025 ** (1 / VIDEOS)), abs=1e-3) == -found.difference.low
    assert any("Fewer than 6 videos" in note for note in found.notes)


def test_seeds_are_drawn_too_and_the_methods_spoken_of(write: Writer) -> None:
    for seed in range(5):
        write(point("tsn", seed=seed), answers(0.9, seed, 200))
        write(point("tsm", seed=seed), answers(0.5, 10 + seed, 200))
    found = compared(write)
    assert found.points_a[0].seeds == (0, 1, 2, 3, 4) and len(found.points_b) == 1
    assert found.covers == "videos and seeds" and found.test == "two-sided, by bootstrap"
    assert found.sentence.startswith("TSN 4f is ahead of TSM 4f") and "trainings" not in found.sentence
    one = compared(write, point("tsn", seed=0).experiment_id, point("tsm", seed=1).experiment_id)
    assert "these two trainings" in one.sentence


def test_seeds_swapped_give_the_same_mirrored(write: Writer) -> None:
    for seed, method in product(range(3), ("tsn", "tsm")):
        write(point(method, seed=seed), answers(0.5 + seed / 10, seed + len(method), 100))
    one, other = compared(write).difference, compared(write, "tsm", "tsn").difference
    assert one is not None and other is not None
    assert (one.value, one.low, one.high, one.p) == pytest.approx((-other.value, -other.high, -other.low, other.p))


def test_all_alike_is_no_certainty(write: Writer) -> None:
    """Of 60 videos that one side answers and the other does not, a bootstrap draws nothing else."""
    write(point("tsn"), np.ones(VIDEOS, bool))
    write(point("tsm"), np.zeros(VIDEOS, bool))
    found = compared(write)
    assert found.difference is not None and found.difference.high == 100 and found.difference.p < 1e-10
    assert found.difference.low == pytest.approx(100 - 200 * (1 - 0.025 ** (1 / VIDEOS)), abs=1e-3)
    assert any("differ by as much" in note for note in found.notes)


def test_few_videos_at_one_cost_are_not_said_of_the_mean(write: Writer) -> None:
    for number, (method, frames) in enumerate(product(("tsn", "tsm"), (4, 8))):
        right = answers(0.5) if frames == 4 else answers(0.6 + number / 10, number)
        write(point(method, frames), right, gmacs=frames)
    found = compared(write)
    assert found.matched[0].value == 0 and found.difference is not None and found.difference.value != 0
    (note,) = found.notes
    assert note.startswith("At a cost or more of these: Fewer than 6 videos")


def test_choosing_among_more_points_is_said(write: Writer) -> None:
    for frames, share in ((4, 0.5), (8, 0.3), (16, 0.9)):
        write(point("tsn", frames), answers(share, 0, 100), gmacs=frames)
    for frames in (4, 16):
        write(point("tsm", frames), answers(frames / 20, 1, 100), gmacs=frames)
    said = "Each line joins the points that no other of its side beats on these videos (A 2 of 3, B 2 of 2)"
    assert said in compared(write).sentence
    (pair,) = all_pairs(load_records([write.runs]))
    assert "(A 2 of 2, B 2 of 3)" in pair.sentence
    write(point("tsm", 8), answers(0.1, 1, 100), gmacs=8)
    assert "Each line" not in compared(write).sentence, "as many on both sides"


def test_a_lead_of_more_points_is_looked_at_by_halves(write: Writer) -> None:
    """What each half of the videos chooses for the other, by hand."""
    videos, frames = 200, (4, 6, 8, 10, 12, 14, 16)
    right = {each: answers(0.6, number, videos) for number, each in enumerate(frames)}
    for each in frames:
        write(point("tsn", each), right[each], gmacs=each)
    low, high = right[4] & (np.arange(videos) % 3 > 0), answers(0.5, 99, videos)
    for each, answered in ((4, low), (16, high)):
        write(point("tsm", each), answered, gmacs=each)
    found = compared(write, at="gflops=14")
    assert found.difference is not None and found.difference.value > 0
    shares, half, place = np.zeros(videos), np.zeros(videos, int), 0
    for label in range(4):
        for video in range(label, videos, 4):
            half[video], place = place % 2, place + 1
    for h, (sign, of) in product((0, 1), ((1, right), (-1, {4: low, 16: high}))):
        chosen = [
            each for each in of if all(of[each][half != h].mean() > of[k][half != h].mean() for k in of if k < each)
        ]
        line = [np.interp(14, chosen, [of[each][video] for each in chosen]) for video in range(videos)]
        shares[half == h] += sign * np.array(line)[half == h]
    said = re.search(HALVES, found.sentence)
    assert said is not None
    value, least, most, p = map(float, said.groups())
    assert value == pytest.approx(100 * shares.mean(), abs=0.006)
    spread = 1.96 * 100 * shares.std() / videos**0.5
    assert (least, most) == pytest.approx((value - spread, value + spread), rel=0.1)
    assert found.difference.p == pytest.approx(p, rel=0.06) and "each half of the videos choosing" in found.test
    assert found.matched == (found.difference,)


def test_halves_swapped_give_the_same_mirrored(write: Writer) -> None:
    for seed, frames in product((0, 1), (4, 6, 8, 10, 12)):
        write(point("tsn", frames, seed), answers(0.6, 10 * frames + seed, 100), gmacs=frames)
    for seed, frames in product((0, 1), (4, 12)):
        write(point("tsm", frames, seed), answers(0.4 + frames / 100, seed + frames, 100), gmacs=frames)
    records = load_records([write.runs])
    found = [re.search(HALVES, compare(records, a, b).sentence) for a, b in (("tsn", "tsm"), ("tsm", "tsn"))]
    assert found[0] is not None and found[1] is not None
    value, low, high, p = map(float, found[0].groups())
    assert tuple(map(float, found[1].groups())) == (-value, -high, -low, p)


def test_nothing_is_concluded_of_tiny_trials(write: Writer) -> None:
    for method in ("tsn", "tsm"):
        trial = point(method)
        write(replace(trial, training=replace(trial.training, epochs=1, batch=6)), answers(0.5))
    sentence = compared(write).sentence
    assert sentence.startswith("Nothing can be concluded: All 2 records here are tiny trials (--tiny)")


def test_what_times_depend_on_is_said_where_it_differs(write: Writer) -> None:
    write(point("tsn"), answers(0.5))
    other = copy.deepcopy(write.template["timing"])
    other["device"]["threads"] = 8
    write(point("tsm"), answers(0.5, 1), timing=other)
    assert "The sides differ in threads when timed: A 1, B 8." in compared(write, at="throughput").notes


def test_seeds_timed_on_two_devices_have_no_mean_time(write: Writer) -> None:
    write(point("tsm"), answers(0.5))
    other = copy.deepcopy(write.template["timing"])
    other["device"]["name"] = "another"
    for seed in range(2):
        write(point("tsn", seed=seed), answers(0.5, seed), **({"timing": other} if seed else {}))
    found = compared(write)
    assert found.points_a[0].videos_per_second is None and found.points_b[0].videos_per_second == pytest.approx(100)
    (line,) = (line for line in as_text(found).splitlines() if line.startswith("A  TSN"))
    assert line.split()[-1] == "-"


def test_one_seed_on_one_side_withholds_its_method(write: Writer) -> None:
    for seed in range(3):
        write(point("tsn", seed=seed), answers(0.9, seed, 200))
    write(point("tsm"), answers(0.5, 10, 200))
    found = compared(write)
    assert found.covers == "videos, and seeds where a point has several (TSN 4f 3 seeds, TSM 4f 1 seed)"
    assert "nothing is said of the method of TSM 4f" in found.sentence


def test_points_of_the_same_trainings_share_the_seeds_drawn(write: Writer) -> None:
    """Both of a seed's points are as good as the seed; the difference does not vary with it."""
    for seed, execution in product(range(4), ("skipped", "dense")):
        right = answers(0.2 + 0.2 * seed, 1, 400) ^ answers(0.02, len(execution), 400)
        write(replace(point("tsn", seed=seed), evaluation=Evaluation(4, execution)), right)
    labels = [f"TSN, evaluation.execution {execution}" for execution in ("skipped", "dense")]
    found = compared(write, *labels)
    assert found.covers == "videos and seeds" and found.difference is not None
    assert found.difference.high - found.difference.low < 8
    assert [len(each) for each in (found.points_a, found.points_b, found.points_a[0].seeds)] == [1, 1, 4]
    both = (replace(point("tsn", seed=2), evaluation=Evaluation(4, execution)) for execution in ("skipped", "dense"))
    one = compared(write, *(each.experiment_id for each in both))
    assert one.sentence.startswith("These points of one training") and "another training" in one.sentence


def test_frontiers_are_matched_where_both_are(write: Writer) -> None:
    shares = {("tsn", 4): 0.5, ("tsn", 8): 0.7, ("tsn", 6): 0.2, ("tsm", 4): 0.55, ("tsm", 8): 0.9}
    for number, ((method, frames), share) in enumerate(shares.items()):
        cost = frames + (2 if method == "tsm" else 0)
        write(point(method, frames), answers(share, number, 400), gmacs=cost)
    found = compared(write)
    assert found.overlap == (6, 8) and found.axis == "GFLOPs"
    assert [each.on_frontier for each in found.points_a] == [True, False, True]
    accuracy = {p.name: p.accuracy for p in (*found.points_a, *found.points_b)}
    half = (accuracy["TSN 4f"] + accuracy["TSN 8f"]) / 2
    assert [each.at for each in found.matched] == [6, 8]
    assert found.matched[0].value == pytest.approx(half - accuracy["TSM 4f"], abs=1e-3)
    assert found.difference is not None
    assert found.difference.value == pytest.approx(np.mean([each.value for each in found.matched]), abs=1e-3)
    assert "on average from 6 to 8 GFLOPs" in found.sentence and "these 4 trainings" not in found.sentence
    one = compared(write, at="gflops=6")
    assert one.matched == (one.difference,) and one.difference == found.matched[0]
    with pytest.raises(UserError, match=r"TSN goes from 4 to 8 GFLOPs and TSM goes from 6 to 10"):
        compared(write, at="gflops=9")


def test_the_interpolated_interval_is_the_loop(write: Writer) -> None:
    right = {}
    for number, (method, frames) in enumerate(product(("tsn", "tsm"), (4, 8))):
        right[method, frames] = answers(0.3 + frames / 20, number, 50)
        write(point(method, frames), right[method, frames], gmacs=frames)
    found = compared(write, at="gflops=5").difference
    assert found is not None
    ids = sorted(point(method, frames).experiment_id for method, frames in right)
    seed = int(hashlib.sha256(",".join(ids).encode()).hexdigest()[:16], 16)
    slow = []
    for drawn in resamples(50, 10_000, seed):
        a, b = (0.75 * right[m, 4][drawn].mean(axis=1) + 0.25 * right[m, 8][drawn].mean(axis=1) for m in ("tsn", "tsm"))
        slow += (100 * (a - b)).tolist()
    assert (found.low, found.high) == pytest.approx(interval(np.array(slow)), abs=1e-4)


def test_frontiers_that_do_not_meet_are_not_extrapolated(write: Writer) -> None:
    for method, frames in product(("tsn", "tsm"), (4, 8)):
        write(point(method, frames), answers(frames / 10, frames), gmacs=frames + (10 if method == "tsm" else 0))
    found = compared(write)
    assert found.difference is None and found.overlap is None and not found.matched and not found.classes
    assert "TSN goes from 4 to 8 GFLOPs and TSM goes from 14 to 18 GFLOPs" in found.sentence
    assert "Nothing can be said" in as_text(found)
    assert json.loads(as_json(found))["difference"] is None


def test_throughput_leaves_out_what_was_timed_with_noise_and_names_it(write: Writer) -> None:
    for method, frames in product(("tsn", "tsm"), (4, 8, 16)):
        right = answers(0.3 + frames / 30, frames, 400)
        write(point(method, frames), right, speed=400 / frames, noisy=(method, frames) == ("tsn", 16))
    found = compared(write, at="throughput")
    assert found.axis == "videos/s" and found.overlap == pytest.approx((50, 100))
    (line,) = (line for line in as_text(compared(write)).splitlines() if "TSN 16f" in line)
    assert "25 (noisy)" in line
    (note,) = (note for note in found.notes if "noise" in note)
    assert "TSN 16f" in note and point("tsn", 16).experiment_id in note
    assert compared(write, at="throughput=75").difference is not None
    with pytest.raises(UserError, match="Expected a cost that both cover"):
        compared(write, at="throughput=25")
    write(point("afnet"), answers(0.5), noisy=True)
    with pytest.raises(UserError, match="The only record of afnet was timed with noise; expected one that was not"):
        compared(write, "afnet", at="throughput")


def test_points_timed_on_two_devices_have_no_common_throughput(write: Writer) -> None:
    write(point("tsn"), answers(0.5))
    other = copy.deepcopy(write.template["timing"])
    other["device"]["name"] = "another"
    write(point("tsm"), answers(0.5), timing=other)
    with pytest.raises(UserError, match="expected one device"):
        compared(write, at="throughput")
    assert any("device when timed" in note for note in compared(write).notes)


def test_videos_that_one_lacks_count_for_neither(write: Writer) -> None:
    a, b = answers(0.7, 1), answers(0.5, 2)
    write(point("tsn"), a[10:], video=np.arange(10, VIDEOS))
    write(point("tsm"), b[:-5][::-1], video=np.arange(VIDEOS - 5)[::-1].copy())
    found = compared(write)
    assert (found.videos, found.left_out) == (VIDEOS - 15, 15) and found.difference is not None
    assert found.difference.value == pytest.approx(100 * (a[10:-5].mean() - b[10:-5].mean()), abs=1e-3)
    assert "45 common videos, 15 left out" in as_text(found)


def test_classes_are_corrected_for_their_number_and_called_by_name(write: Writer) -> None:
    b = answers(0.5, 3, 400)
    a = b.copy()
    a[::4] = True  # class 0
    write(point("tsn"), a)
    write(point("tsm"), b)
    names = write.runs / "digits-in-motion" / write.template["names"]
    names.write_text(json.dumps({"classes": ["zero", "one", "two", "three"], "videos": []}))
    found = compared(write)
    first, *others = found.classes
    assert first.name == "zero" and first.stands and first.videos == 100
    assert first.better == int((~b[::4]).sum()) and first.worse == 0
    assert first.p == pytest.approx(2 / 2.0**first.better, rel=1e-4)
    assert first.p_holm == pytest.approx(4 * first.p, rel=1e-4)
    assert [each.p_holm for each in others] == [1, 1, 1] and not any(each.stands for each in others)
    names.unlink()
    assert [each.name for each in compared(write).classes] == ["0", "1", "2", "3"]


def test_several_labels_are_compared_by_map(write: Writer) -> None:
    rng = np.random.default_rng(0)
    targets = rng.random((50, 6)) < 0.3
    targets[:, 0] |= ~targets.any(axis=1)
    labels = targets.argmax(axis=1)
    logits = {
        method: (rng.normal(size=(50, 6)) + strength * targets).astype(np.float32)
        for method, strength in (("tsn", 3.0), ("tsm", 0.5))
    }
    for method, each in logits.items():
        write(several(method), np.zeros(50, bool), labels=labels, logits=each, targets=targets)
    found = compared(write)
    assert found.metric == "mAP" and found.test == "two-sided, by bootstrap" and found.difference is not None
    a, b = (mean_average_precision(targets, logits[method]) for method in ("tsn", "tsm"))
    assert found.difference.value == pytest.approx(a - b, abs=1e-3) and found.difference.low > 0
    whole = sum(each.difference for each in found.classes) / len(found.classes)
    assert whole == pytest.approx(a - b, abs=1e-3)
    assert "points of mAP" in found.sentence


def test_views_may_differ_and_that_is_said(write: Writer) -> None:
    write(point("tsn"), answers(0.5))
    write(point("tsm"), answers(0.5), macs=write.template["macs"] | {"views": 3})
    assert "The sides differ in views of a video: A 1, B 3." in compared(write).notes


def test_comparing_imports_no_torch() -> None:
    command = "import sys, reports.comparison.printed; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", command], timeout=120, check=False).returncode == 0


def test_names_are_printed_as_what_they_are(write: Writer) -> None:
    b = answers(0.5, 3, 400)
    write(point("tsn"), b | (np.arange(400) % 4 == 0))
    write(point("tsm"), b)
    names = write.runs / "digits-in-motion" / write.template["names"]
    names.write_text(json.dumps({"classes": ["\x1b[2J<b>z|y</b>\nx", "1", "2", "3"], "videos": []}))
    text, markdown = as_text(compared(write)), as_text(compared(write), markdown=True)
    (line,) = (line for line in text.splitlines() if "z|y" in line)
    assert line.startswith(" [2J<b>z|y</b> x") and "\x1b" not in text
    assert r"\<b\>z\|y\</b\> x |" in markdown


@pytest.mark.parametrize("form", ["text", "json", "md"])
def test_the_same_records_print_the_same_bytes(runs: Path, capsys: pytest.CaptureFixture[str], form: str) -> None:
    said = []
    for folders in ([str(runs)], [str(runs), str(runs)]):  # a record found twice is one
        main(["compare", *folders, "tsn", "tsm", "--format", form])
        said.append(capsys.readouterr().out)
    assert said[0] == said[1] and "TSN" in said[0]
    if form == "json":
        assert {"sentence", "difference", "classes", "points_a"} <= set(json.loads(said[0]))
    if form == "md":
        assert "| point | seeds |" in said[0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["tsn", "tsm"], "expected folders of records and two sides"), (["nowhere", "tsn", "tsm"], "no folder nowhere")],
)
def test_a_mistake_is_one_paragraph(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["compare", *arguments])
    assert ended.value.code == 2 and words in capsys.readouterr().err


def test_a_record_of_another_schema_is_refused(write: Writer) -> None:
    write(point("tsn"), answers(0.5))
    write(point("tsm"), answers(0.5), schema=3)
    with pytest.raises(UserError, match="has schema 3"):
        compared(write)
