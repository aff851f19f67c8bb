"""Whether a folder of records may be believed: every record against its own files, each finding one line.

Imports no torch: nothing is run, and nothing in the folder is unpickled.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.errors import UserError
from bench.metrics import compute_metrics
from bench.record import Result, read_result, result_files
from bench.samples import Samples, read_samples
from bench.statistics import AGREEMENT, ratios, spread, summarise

# Beyond which two runs of the same forward in the same rounds are too far apart for a comparison.
AGAIN = 0.03
SHOWN = 3  # names of videos in a line
FACTS = ("python", "platform", "host", "processor", "cores", "packages", "source", "device")


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be.

    Attributes:
        path: of the record.
        rule: name of the rule in RULES, or "record" or "twice".
        text: what was found.
    """

    path: Path
    rule: str
    text: str

    @property
    def is_wrong(self) -> bool:
        """Whether the record contradicts itself; otherwise it is right about something to beware of."""
        return self.rule not in CAUTIONS

    def __str__(self) -> str:
        return f"{'wrong' if self.is_wrong else 'beware'}: {self.path}: {self.rule}: {self.text}"


def check(runs: Path) -> tuple[int, list[Finding]]:
    """Check every record below a folder.

    Returns:
        How many records there are, and what is wrong with them, in the order of their paths.

    Raises:
        UserError: where there is no such folder, or no record in it.
    """
    top = runs.resolve()
    paths = result_files(top)
    if not paths:
        raise UserError(f"No record below {runs}; expected a folder that `afbench run` or `afbench demo` wrote.")
    findings: list[Finding] = []
    seen: dict[str, tuple[Path, Result]] = {}
    for path in paths:
        shown = path.relative_to(top) if path != top else Path(path.name)
        try:
            result = read_result(path)
            samples = read_samples(path.parent / "samples.parquet")
            if not len(samples.video):
                raise UserError(f"{path.parent / 'samples.parquet'} has no rows; expected one a validation video.")
        except UserError as error:
            findings.append(Finding(shown, "record", str(error).removeprefix(f"{path} ")))
            continue
        for rule, problems in RULES.items():
            findings += [Finding(shown, rule, text) for text in problems(result, samples)]
        first, earlier = seen.setdefault(result.experiment.experiment_id, (shown, result))
        if earlier.values != result.values:
            findings.append(Finding(shown, "twice", f"{first} holds another result of the same experiment"))
    return len(paths), findings


def _place(result: Result, samples: Samples) -> Iterator[str]:
    """Folders are named after the ids of what lies in them, and the training's files are there."""
    point, training = result.path.parent, result.path.parent.parent.parent
    for folder, name in ((point, "experiment_id"), (training, "training_id")):
        if folder.name != result.values[name]:
            yield f"lies in a folder {folder.name}, but its {name} is {result.values[name]}"
    for name in ("experiment.json", "checkpoint.pt", "progress.jsonl"):
        if not (training / name).is_file():
            yield f"its training has no {name}"


def _metrics(result: Result, samples: Samples) -> Iterator[str]:
    """The samples give the metrics."""
    left_out = len(result.values["left_out"]["val"])
    if len(samples.video) != result.experiment.data.val_clips - left_out:
        yield (
            f"has {len(samples.video)} samples of {result.experiment.data.val_clips} validation videos, of which "
            f"{left_out} were left out"
        )
    if len(set(samples.video.tolist())) != len(samples.video):
        yield "has several samples of one video"
    found = compute_metrics(samples)
    for name, said in result.metrics.items():  # a metric may be younger than the record
        if not _same(said, found.get(name)):
            yield f"says {name} {said}, but its samples give {found.get(name)}"


def _same(one: Any, other: Any, within: float = 1e-9) -> bool:
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(_same(*pair, within) for pair in zip(one, other, strict=True))
    if isinstance(one, (int, float)) and isinstance(other, (int, float)):
        return math.isclose(one, other, rel_tol=within, abs_tol=1e-12)
    return bool(one == other)


def _macs(result: Result, samples: Samples) -> Iterator[str]:
    """Every video costs what its decisions cost, and the counters agree."""
    macs, execution = result.values["macs"], result.experiment.evaluation.execution
    per_unit, views = np.array(macs["per_unit"], np.int64), macs["views"]
    static, dense, most = (views * each for each in (macs["static"], macs["dense"], _most(macs)))
    expected: np.ndarray[Any, Any] | None = None
    if execution != "skipped" or not len(per_unit):
        expected = np.full(len(samples.video), dense if execution == "dense" else most)
    elif samples.kept is not None and samples.cells is None and samples.kept.shape[1] == len(per_unit):
        expected = static + samples.kept.sum(axis=2) @ per_unit
    if expected is not None and not np.array_equal(expected, samples.macs):
        wrong = int(samples.video[expected != samples.macs][0])
        yield f"the multiply-adds of video {wrong} are not those of its decisions"
    if samples.macs.min() < static or samples.macs.max() > max(most, dense):
        yield f"has a video of {samples.macs.max()} multiply-adds, outside {static} to {most}"
    for name, witness in macs["witnesses"].items():
        if witness["missing"]:
            yield f"{name} did not count: {witness['missing']}"
        elif witness["apart"] > AGREEMENT:
            yield f"{name} counts {witness['total']:.0f} multiply-adds, {witness['apart']:.2%} beside torch"


def _most(macs: dict[str, Any]) -> int:
    """Of a view whose every unit is computed."""
    return macs["static"] + sum(each * count for each, count in zip(macs["per_unit"], macs["all_units"], strict=True))


def _timing(result: Result, samples: Samples) -> Iterator[str]:
    """Times are what their samples give, of the network that was evaluated."""
    timing = result.values["timing"]
    yield from _of_each(timing, _sums)
    if timing["same_answers"] < 1 and timing["dtype"] == "float32":
        yield _other_answers(timing)


def _noise(result: Result, samples: Samples) -> Iterator[str]:
    """Times are settled, quiet, of an unthrottled device, and of the batch that was asked for."""
    timing = result.values["timing"]
    yield from _of_each(timing, _unrest)
    if timing["throttled"]:
        yield "the device throttled"
    if timing["throttled"] is None and timing["device"].get("kind") == "cuda":
        yield f"nobody knows whether the device throttled: {timing['state']['after'].get('missing')}"
    if timing["same_answers"] < 1 and timing["dtype"] != "float32":
        yield _other_answers(timing)
    ran = {timed["batch"] for timed in timing["scenarios"]["offline"].values()}
    wanted = min(timing["requested_batch"], len(samples.video))
    if ran != {timing["requested_batch"]}:
        reason = "for want of memory" if ran != {wanted} else f"for want of more than {wanted} validation videos"
        batches = ", ".join(map(str, sorted(ran)))
        yield f"{reason} ran batches of {batches} clips, not {timing['requested_batch']}"


def _other_answers(timing: dict[str, Any]) -> str:
    share = 1 - timing["same_answers"]
    return f"the network that was timed, in {timing['dtype']}, answers {share:.1%} of the clips otherwise"


def _of_each(timing: dict[str, Any], problems: Callable[[dict[str, Any]], Iterator[str]]) -> Iterator[str]:
    """What is found in each execution of each scenario."""
    for scenario, executions in timing["scenarios"].items():
        for execution, timed in executions.items():
            for text in problems(timed):
                yield f"{scenario}, {execution}: {text}"


def _sums(timed: dict[str, Any]) -> Iterator[str]:
    """Of one execution in one scenario: the summaries of its samples."""
    samples = timed["samples"]
    found = summarise(samples)
    for name in ("median", "quartiles", "p90"):
        if not _same(timed[name], found[name], 1e-6):  # samples are rounded to nanoseconds
            yield f"says {name} {timed[name]}, but its samples give {found[name]}"
    again = timed.get("again_samples", samples)
    if len(again) != len(samples):
        yield f"has {len(samples)} samples and {len(again)} of its second run"
        return
    apart = float(np.median(ratios(again, samples)))
    if not _same(timed.get("again", 1.0), apart, 1e-6):
        yield f"says again {timed.get('again')}, but its samples give {apart}"


def _unrest(timed: dict[str, Any]) -> Iterator[str]:
    """Of one execution in one scenario: how far its samples are from each other."""
    samples = timed["samples"]
    again = timed.get("again_samples", samples)
    if timed["noisy"]:
        # Where clips differ in their work, both runs of a clip are what was judged.
        paired = "again" in timed and timed["batch"] == 1 and len(again) == len(samples)
        judged = ratios(again, samples) if paired else samples
        yield f"noisy, quartiles {'of both runs of a clip ' if paired else ''}{spread(judged):.1%} of the median apart"
    if timed["stable"] is False:
        yield "times had not settled when warm-up ended"
    if abs(timed.get("again", 1.0) - 1) > AGAIN:
        yield f"run twice in the same rounds, its times differ by {abs(timed['again'] - 1):.1%}"


def _environment(result: Result, samples: Samples) -> Iterator[str]:
    """It says where and with what it was made."""
    environment = result.values["environment"]
    for name in FACTS:
        if environment.get(name) in (None, "", {}):
            yield f"does not say its {name}"
    for package, version in environment["packages"].items():
        if version is None and package in ("torch", "numpy"):
            yield f"does not say the version of {package}"


def _left_out(result: Result, samples: Samples) -> Iterator[str]:
    """Every video was used."""
    for split, bad in result.values["left_out"].items():
        if bad:
            shown = ", ".join(list(bad)[:SHOWN]) + (", ..." if len(bad) > SHOWN else "")
            yield f"{split} videos that could not be used: {len(bad)}, {shown}"


def _source(result: Result, samples: Samples) -> Iterator[str]:
    """The code that made it can be had again, and was one."""
    source = result.values["environment"]["source"]
    if source["commit"] is None:
        yield "was made outside a checkout: no commit"
    elif source["dirty"]:
        yield f"was made from changed files on top of commit {source['commit'][:12]}"
    yield from _versions(result.values.get("attempts", []))


def _versions(attempts: list[Any]) -> Iterator[str]:
    """Attempts at its training that ran other code than one another, or than was submitted."""
    ran = [_version(_inside(each, "source")) for each in attempts]
    different = list(dict.fromkeys(filter(None, ran)))
    if len(different) > 1:
        yield f"its training was worked on by several versions of the code: {', '.join(different)}"
    submitted = [_version(_inside(each, "job", "submission", "source")) for each in attempts]
    for wanted, found in dict.fromkeys(zip(submitted, ran, strict=True)):
        if wanted and found and wanted != found:
            yield f"was submitted from {wanted}, but a job ran {found}"


def _inside(value: Any, *names: str) -> Any:
    """What lies so deep in an attempt, which is none of the record's checked parts; None where nothing does."""
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _version(source: Any) -> str:
    """In words; "" where it is not known."""
    commit, patch = _inside(source, "commit"), _inside(source, "patch")
    return f"commit {str(commit)[:12]}{f' with changes {patch}' if patch else ''}" if commit else ""


RULES: dict[str, Callable[[Result, Samples], Iterator[str]]] = {
    "place": _place,
    "metrics": _metrics,
    "multiply-adds": _macs,
    "timing": _timing,
    "noise": _noise,
    "environment": _environment,
    "left out": _left_out,
    "source": _source,
}
# Whose findings contradict nothing: the record is right, and says itself what to beware of.
CAUTIONS = ("noise", "left out", "source")
