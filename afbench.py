"""Train, measure and compare efficient video recognition: accuracy, executed multiply-adds, time."""

from __future__ import annotations

import gc
import logging
import os
import sys
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from bench.data.commands import Data
from bench.errors import UserError
from sweeps.commands import Sweep, assignments_of

if TYPE_CHECKING:
    from bench.experiment import Experiment, Timing

MISTAKE = 2  # exit status of a user's mistake, as of an unknown flag
INTERRUPTED = 130
FOUND = 1  # of a check


@dataclass(frozen=True)
class Demo:
    """Train, measure and report twelve points on the embedded data set; run again, it goes on where it was.

    About 10 minutes on 2 CPU cores. Nothing is downloaded.
    """

    runs: Path | None = None
    """Folder of the records; demo/runs, or demo-tiny/runs with --tiny."""
    out: Path | None = None
    """Folder of the report; demo/report, or demo-tiny/report with --tiny."""
    tiny: bool = False
    """A few steps a point instead of a training: the whole way in a minute, with meaningless accuracies."""

    def __call__(self) -> None:
        from bench.files import check_folder
        from bench.record import point_folder
        from sweeps.local import run_points
        from sweeps.recipes import find_recipe

        own = Path("demo-tiny" if self.tiny else "demo")
        runs, out = self.runs or own / "runs", self.out or own / "report"
        check_folder(out)
        points = find_recipe("demo").points(self.tiny)
        run_points(points, runs, "demo")
        # Not the whole folder, which may hold other experiments.
        _report([point_folder(runs, point) / "result.json" for point in points], out, on_bad="stop")


@dataclass(frozen=True)
class Run:
    """Run one experiment here: train, evaluate, count multiply-adds, time, write the record.

    Starts from what recipes have for the method on the data set and network; --frames, --ratio, --seed and --set
    change any of it.
    """

    method: tyro.conf.Positional[str]
    """Name in the registry: tsn, tsm, afnet, ocsampler, ..."""
    dataset: str = ""
    """Name in `afbench data list`, or of your own; digits-in-motion where none is given."""
    frames: int | None = None
    """Frames a clip."""
    ratio: float | None = None
    """Share of frames AFNet aims to compute in full, in (0, 1]."""
    backbone: str = ""
    """Name of a network that the method is built on: tiny on digits-in-motion, resnet50 elsewhere, mobilenetv2, ..."""
    seed: int | None = None
    """Of the training."""
    set: Annotated[list[str], tyro.conf.arg(metavar="FIELD=VALUE"), tyro.conf.UseAppendAction] = field(
        default_factory=list
    )
    """Any field of the experiment by its dotted name, for example training.lr=0.02; once for each field."""
    grid: Annotated[list[str], tyro.conf.arg(metavar="FIELD=A,B,..."), tyro.conf.UseAppendAction] = field(
        default_factory=list
    )
    """Several points of the one training, for example evaluation.budget=2,4: loaded once, timed in turns."""
    runs: Path = Path("runs")
    """Folder of the records."""

    def __call__(self) -> None:
        from bench.data.catalogue import DIGITS
        from bench.experiment import override
        from sweeps.recipes.start import starting_point

        short = {
            "model.frames": self.frames,
            "model.settings.ratio": self.ratio,
            "training.seed": self.seed,
        }
        assignments = {path: str(value) for path, value in short.items() if value is not None}
        assignments |= assignments_of("--set", self.set, "training.lr=0.02")
        chosen = assignments.get("data.dataset") or self.dataset or DIGITS
        start = starting_point(self.method, chosen, assignments.get("model.backbone") or self.backbone)
        if self.ratio is not None and not hasattr(start.model.settings, "ratio"):
            raise UserError(
                f"--ratio is {self.ratio:g}, but {self.method} aims at no ratio; expected it with afnet. What samplers "
                "keep is a setting: --set model.settings.keep=4 or --set model.settings.patch=128."
            )
        points = _grid(override(start, assignments), self.grid)
        from bench.distributed import is_first, leave
        from bench.run import run_points
        from sweeps.progress import stage_bars

        with stage_bars() as report:
            results = run_points(points, self.runs, report)
        for result in results if is_first() else ():
            _print_result(result.path)
        leave()


@dataclass(frozen=True)
class Profile:
    """What methods cost: parameters and multiply-adds of a video, without data or training.

    A row for every method, number of frames, size and ratio asked for; "-" where a method keeps no ratio of anything.
    """

    methods: tyro.conf.Positional[list[str]]
    """Names in the registry: tsn, tsm, afnet, ocsampler, ..."""
    frames: tuple[int, ...] = (8,)
    """Frames a clip."""
    ratio: tuple[float, ...] = (1.0,)
    """Share kept of what a method can leave out, in [0, 1]."""
    size: tuple[int, ...] = (224,)
    """Pixels, side of the square input."""
    backbone: str = "resnet50"
    """Name of a network."""
    classes: int = 174
    """K."""
    set: Annotated[list[str], tyro.conf.arg(metavar="NAME=VALUE"), tyro.conf.UseAppendAction] = field(
        default_factory=list
    )
    """A setting of the methods that have it, for example keep=4 or patch=128; once for each."""
    witnesses: bool = False
    """Count by fvcore, ptflops and the layers' closed form too, of a real forward, and say whether they agree."""
    time: bool = False
    """Time the networks too, of random weights: clips per second, latency, saving realised."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where they are timed."""
    dtype: tuple[Literal["float32", "bfloat16", "float16"], ...] = ("float32",)
    """Of weights and clips when timed; a row for each."""
    batch: int = 2
    """Clips a forward when timed."""
    rounds: int = 7
    """In which the executions take turns."""
    format: Literal["table", "md", "csv", "json"] = "table"
    """How the rows are printed."""

    def __call__(self) -> None:
        if not self.methods:
            raise UserError("Which methods? Expected names of the registry, for example: afbench profile tsm afnet.")
        from bench.profile import profile_all

        rows = profile_all(
            self.methods,
            frames=self.frames,
            sizes=self.size,
            ratios=self.ratio,
            backbone=self.backbone,
            classes=self.classes,
            assignments=assignments_of("--set", self.set, "keep=4"),
            timings=self._timings(),
            witnesses=self.witnesses,
        )
        from sweeps.progress import print_rows

        print_rows([row.to_dict() for row in rows], self.format)
        deaf = list(dict.fromkeys(row.method for row in rows if row.ratio is None))
        if deaf and self.ratio != (1.0,):
            print(
                f"--ratio changes nothing in {', '.join(deaf)}: what they keep, if anything, is a setting, for example "
                "--set keep=4 or --set patch=128.",
                file=sys.stderr,
            )

    def _timings(self) -> list[Timing | None]:
        from bench.experiment import Timing
        from bench.run import check_device

        if not self.time:
            return [None]
        check_device(self.device, "--device")
        return [Timing(device=self.device, dtype=dtype, batch=self.batch, rounds=self.rounds) for dtype in self.dtype]


@dataclass(frozen=True)
class Report:
    """Write the report of a folder of records: a page, figures (png, svg, pdf), tables (html, csv, md, tex)."""

    runs: tyro.conf.Positional[list[Path]]
    """Folders of records, or single result.json files."""
    out: Path = Path("report")
    """Folder to write."""
    on_bad: Annotated[str, tyro.conf.arg(metavar="stop|skip")] = "stop"
    """A damaged record stops the report, or is left out of it and named there."""
    recompute: bool = False
    """Metrics from the samples of each record instead of those it was written with; newer ones too, with no run."""

    def __call__(self) -> None:
        _report(self.runs, self.out, self.on_bad, self.recompute)


@dataclass(frozen=True)
class Compare:
    """Two methods or two points on the same videos: the difference, its 95% interval, a test, and what they allow.

    Methods with several points are compared at matched costs. docs/compare.md says how to read it.
    """

    names: Annotated[tyro.conf.Positional[list[str]], tyro.conf.arg(metavar="RUNS... A B")]
    """Folders of records or single result.json files, then both sides: a method's name (afnet) or its label in the
    report, or the beginning of an experiment id."""
    dataset: str = ""
    """Name, where the records are of several."""
    at: Annotated[str, tyro.conf.arg(metavar="gflops=25|throughput=120")] = ""
    """A cost at which frontiers are matched: GFLOPs or videos a second; without a number, wherever both are."""
    format: Literal["text", "json", "md"] = "text"
    """How it is printed; json has everything, every class too."""

    def __call__(self) -> None:
        from reports.comparison.compare import compare
        from reports.comparison.printed import as_json, as_text
        from reports.load import load_records

        if len(self.names) < 3:
            raise UserError(
                f"compare got {len(self.names)} words; expected folders of records and two sides, for example: afbench "
                "compare runs afnet tsm."
            )
        *runs, a, b = self.names
        found = compare(load_records([Path(each) for each in runs]), a, b, dataset=self.dataset, at=self.at)
        print(as_json(found) if self.format == "json" else as_text(found, self.format == "md").rstrip())


@dataclass(frozen=True)
class Check:
    """Whether the records of a folder may be believed; a line for each thing that is not as it should be.

    "wrong" is what contradicts itself: schema and ids, metrics from samples, multiply-adds from decisions, times from
    their samples, a complete environment. "beware" is what a record says of itself: noisy times, a changed source. The
    exit status is 1 where something is wrong, 0 otherwise.
    """

    runs: tyro.conf.Positional[Path]
    """Folder of records, or a single result.json."""
    strict: bool = False
    """Exit status 1 for "beware" too."""

    def __call__(self) -> None:
        from bench.check import check

        records, findings = check(self.runs)
        for finding in findings:
            print(finding)
        wrong = sum(finding.is_wrong for finding in findings)
        print(
            f"{records} {'record' if records == 1 else 'records'}: {wrong} wrong, {len(findings) - wrong} to beware of",
            file=sys.stderr,
        )
        if findings if self.strict else wrong:
            sys.exit(FOUND)


Datasets = Annotated[
    Data, tyro.conf.subcommand("data", description="Known data sets and their files: list, prepare, verify.")
]
Sweeps = Annotated[
    Sweep, tyro.conf.subcommand("sweep", description="Many experiments: named recipes, their state, running them.")
]
Command = (
    Annotated[Demo, tyro.conf.subcommand("demo")]
    | Annotated[Run, tyro.conf.subcommand("run")]
    | Annotated[Profile, tyro.conf.subcommand("profile")]
    | Sweeps
    | Datasets
    | Annotated[Report, tyro.conf.subcommand("report")]
    | Annotated[Compare, tyro.conf.subcommand("compare")]
    | Annotated[Check, tyro.conf.subcommand("check")]
)


def _grid(start: Experiment, texts: list[str]) -> list[Experiment]:
    """Every combination of the values that --grid gives to fields of one training's points."""
    from bench.experiment import override

    axes = {
        name: values.split(",") for name, values in assignments_of("--grid", texts, "evaluation.budget=2,4").items()
    }
    points = [override(start, dict(zip(axes, values, strict=True))) for values in product(*axes.values())]
    if len({point.experiment_id for point in points}) < len(points):
        raise UserError(
            f"--grid has {', '.join(texts)}, which gives one point several times; expected each value once."
        )
    for point in points:
        if point.training_id != start.training_id or point.timing != points[0].timing:
            raise UserError(
                f"--grid has {', '.join(axes)}; expected fields of the evaluation alone, since its points share one "
                "checkpoint and one timing. A recipe sweeps over anything: `afbench sweep`."
            )
    return points


def _report(runs: list[Path], out: Path, on_bad: str, recompute: bool = False) -> None:
    from bench.record import read_result
    from reports.load import read_anew
    from reports.site import write_site
    from sweeps.causes import Causes

    # Of thousands of records nearly every object is kept to the end; to look for garbage among millions as often as
    # Python does takes a tenth of the time.
    gc.set_threshold(100_000)
    read = read_anew if recompute else read_result
    page = write_site(runs, out, on_bad=on_bad, explain=Causes(), read=read)
    print(f"Report: {page}")


def _print_result(path: Path) -> None:
    from bench.record import read_result

    result = read_result(path)
    metrics = result.metrics
    quality = f"mAP {metrics['map']:.2f} %" if "map" in metrics else f"top-1 {metrics['top1']:.2f} %"
    print(f"{quality}, {metrics['macs'] / 1e9:.4f} GMACs a video -> {path}")
    for warning in result.values["warnings"]:
        print(f"beware: {warning}")
    left_out = {split: len(bad) for split, bad in result.values["left_out"].items() if bad}
    if left_out:
        said = " and ".join(f"{count} {split} videos" for split, count in left_out.items())
        print(f"{said} could not be used; left_out in the record names them")


def main(arguments: list[str] | None = None) -> None:
    """Entry point: parse, run, and turn a user's mistake into one paragraph and exit status 2."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        tyro.cli(Command, prog="afbench", description=__doc__, args=arguments)()
        sys.stdout.flush()
    except UserError as error:
        print(f"afbench: {error}", file=sys.stderr)
        sys.exit(MISTAKE)
    except KeyboardInterrupt:
        print("afbench: interrupted; the same command goes on from here.", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        # Who read the lines, as `head`, has had enough; Python would complain once more when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


if __name__ == "__main__":
    main()
