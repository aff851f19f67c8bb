"""Handing over to SLURM: what, how, once. SLURM's commands are scripts here; tests/slurm runs on the real ones."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

from afbench import main
from bench.errors import UserError
from bench.experiment import Experiment
from bench.record import point_folder, training_folder
from bench.run import evaluate_points
from sweeps import queue
from sweeps.arrays import arrays_of
from sweeps.clusters import Cluster, find_cluster
from sweeps.ledger import Ledger
from sweeps.plan import Point, chosen, plan
from sweeps.queue import Job
from sweeps.recipes import find_recipe
from sweeps.show import print_plan, print_submission, print_triage
from sweeps.slurm import script_of, submit
from sweeps.triage import KINDS, Cause
from tests.conftest import small

SBATCH = """#!/bin/bash
if [ "$1" = --test-only ]; then
    grep -q partition=nope && { echo "sbatch: error: invalid partition specified: nope" >&2; exit 1; }
    exit 0
fi
number=$(($(cat "$FAKE/number" 2>/dev/null || echo 10) + 1))
[ -n "$FAIL_AT" ] && [ "$number" -ge "$FAIL_AT" ] && { echo "sbatch: error: limit of jobs" >&2; exit 1; }
echo "$number" > "$FAKE/number"
cp "$1" "$FAKE/$number.sh"
echo "Submitted batch job $number"
"""
PRINTED = '#!/bin/bash\necho "$0 $@" >> "$FAKE/asked"\ncat "$FAKE/{name}.out" 2>/dev/null\nexit 0\n'


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with commands of SLURM: what squeue, sacct and scontrol answer is in their .out files."""
    folder = tmp_path / "slurm"
    folder.mkdir()
    commands = ("squeue", "sacct", "scontrol", "scancel", "srun", "sinfo")
    scripts = {name: PRINTED.replace("{name}", name) for name in commands}
    for name, text in {**scripts, "sbatch": SBATCH}.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    (folder / "scontrol.out").write_text("MaxArraySize            = 3\nOther = 1\n")
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("FAKE", str(folder))
    monkeypatch.delenv("FAIL_AT", raising=False)
    return folder


@pytest.fixture
def cluster() -> Cluster:
    return find_cluster("slurm", {"gpus": 0, "cpus": 2})


def points(*frames: int) -> list[Experiment]:
    return [small("tsn", frames=count) for count in frames]


def states(found: list[Point]) -> list[str]:
    return [point.state for point in found]


def named(runs: Path, *lines: str) -> str:
    """What squeue and sacct print, with the name that each job was given for "a"."""
    tokens = {each.job: each.token for each in Ledger(runs).read()}
    return "".join(line.replace("|a|", f"|{tokens[re.split('[_|]', line)[0]]}|") + "\n" for line in lines)


# --- What SLURM says --------------------------------------------------------------------------------------------------


def test_queued_jobs_are_read_by_their_ids(fake: Path) -> None:
    (fake / "squeue.out").write_text(
        "12_0|RUNNING|None|node1|afbench-a|0:10\n12_1|PENDING|Resources||afbench-a|0:00\nx\n"
    )
    found = queue.queued()
    assert list(found) == ["12_0", "12_1"] and found["12_1"].waits and not found["12_0"].waits
    assert (found["12_0"].nodes, found["12_0"].name, found["12_0"].elapsed) == ("node1", "afbench-a", "0:10")


def test_ended_jobs_of_an_array_that_never_began_stand_in_one_line(fake: Path) -> None:
    lines = [
        "12_0|COMPLETED|None|node1|a|00:10",
        "12_[1-2,5%2]|CANCELLED by 0|None||a|00:00",
        "13|FAILED|None|n|b|00:01",
    ]
    (fake / "sacct.out").write_text("\n".join(lines) + "\n")
    found = queue.ended({"12", "13"})
    assert {name: job.state for name, job in found.items()} == {
        "12_0": "COMPLETED",
        "12_1": "CANCELLED",
        "12_2": "CANCELLED",
        "12_5": "CANCELLED",
        "13": "FAILED",
    }


def test_without_slurm_the_way_out_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"There is no squeue here.*--cluster local"):
        queue.queued()
    with pytest.raises(UserError, match=r"There is no s\w+ here.*--cluster local"):
        submit(points(4), tmp_path / "runs", find_cluster("slurm", {"gpus": 0}), "mine")
    assert queue.ended({"1"}) == {}


# --- What is handed over ----------------------------------------------------------------------------------------------


def test_points_of_a_training_share_a_job_and_their_times_come_after_it(
    fake: Path, tmp_path: Path, cluster: Cluster
) -> None:
    """In arrays no larger than SLURM takes, in an order of its own."""
    tsn = small("tsn")
    several = [replace(tsn, evaluation=replace(tsn.evaluation, frames=frames)) for frames in (2, 4)]
    arrays = arrays_of(plan([*several, *points(3, 5, 6)], tmp_path), cluster, "", "mine")
    assert [(len(array.tasks), array.timed) for array in arrays] == [(3, False), (3, True), (1, False), (1, True)]
    assert [array.after for array in arrays] == [None, arrays[0], None, arrays[2]]
    assert sorted(len(task) for array in arrays if not array.timed for task in array.tasks) == [1, 1, 1, 2]
    assert arrays[1].tasks == arrays[0].tasks
    again = arrays_of(plan([*several, *points(3, 5, 6)], tmp_path), cluster, "", "mine")
    other = [arrays_of(plan(points(*range(1, 9)), tmp_path), cluster, "", name) for name in ("mine", "yours")]
    assert [array.tasks for array in arrays] == [array.tasks for array in again]
    assert other[0][0].tasks != other[1][0].tasks


def test_a_script_asks_for_what_the_cluster_says(fake: Path, tmp_path: Path) -> None:
    flags = {"partition": "p", "account": "a", "gpus": 2, "nodes": 2, "cpus": 3, "memory": "8G", "time": "90"}
    flags["exclude"] = "node[3-4]"
    big = find_cluster("slurm", {**flags, "setup": "module load x", "parallel": 2, "gpu_type": "h100"})
    eight = [replace(point, training=replace(point.training, micro_batch=1)) for point in points(3, 4)]
    first, second = arrays_of(plan(eight, tmp_path), big, "", "mine")
    text = script_of(first, tmp_path, "name")
    for line in (
        "--partition=p",
        "--account=a",
        "--nodes=2",
        "--ntasks-per-node=2",
        "--cpus-per-task=3",
        "--mem=8G",
        "--exclude='node[3-4]'",
        "--time=90",
        "--gres=gpu:h100:2",
        "--array=0-1%2",
        "--requeue",
    ):
        assert f"#SBATCH {line}\n" in text, line
    assert "\nmodule load x\n" in text and "--exclusive" not in text and "wckey" not in text
    text = script_of(second, tmp_path, "name", "12")
    for line in (
        "--nodes=1",
        "--ntasks-per-node=1",
        "--exclusive",
        "--gres=gpu:h100:1",
        "--dependency=aftercorr:12",
        "--kill-on-invalid-dep=yes",
    ):
        assert f"#SBATCH {line}\n" in text, line


def test_short_trainings_share_a_job(fake: Path, tmp_path: Path, cluster: Cluster) -> None:
    """Up to the minutes of the profile; those of which nobody knows stay alone, as do those of several processes."""
    found = plan(points(*range(2, 10)), tmp_path)
    takes: dict[int, float | None] = {2: 200.0, 3: 200.0, 4: 200.0, 5: 500.0, 6: None, 7: 60.0, 8: 60.0, 9: 700.0}

    def seconds(point: Point) -> float | None:
        return takes[point.experiment.model.frames]

    for minutes in (0, 10, 30):
        packed = replace(cluster, training=replace(cluster.training, pack=minutes))
        arrays = arrays_of(found, packed, "", "mine", seconds)
        tasks = [task for array in arrays if not array.timed for task in array.tasks]
        assert sorted(point.model.frames for task in tasks for point in task) == list(range(2, 10))
        times = [task for array in arrays if array.timed for task in array.tasks]
        assert times == tasks, "times come in the same jobs as their trainings, which they wait for one by one"
        for task in tasks:
            own = [takes[point.model.frames] for point in task]
            assert len(task) == 1 or sum(each or 1e9 for each in own) <= 60 * minutes
        assert (len(tasks) == 8) == (minutes == 0)
    two = replace(packed, training=replace(packed.training, nodes=2))
    assert {len(task) for array in arrays_of(found, two, "", "mine", seconds) for task in array.tasks} == {1}


def test_clocks_that_are_apart_are_said_when_jobs_are_handed_over(
    fake: Path, tmp_path: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    submit(points(3), tmp_path, cluster, "mine")
    assert not caplog.text
    monkeypatch.setattr("sweeps.slurm.clock_of", lambda folder: time.time() - 3600)
    submit(points(4), tmp_path, cluster, "mine")
    assert "clock is +3600 s off that of the file system" in caplog.text


def test_a_runs_folder_without_room_is_said_before_anything_is_handed_over(
    fake: Path, tmp_path: Path, cluster: Cluster
) -> None:
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4_000, limit[1]))
    try:
        with pytest.raises(UserError, match=r"runs cannot be written to \(File too large\)"):
            submit(points(3), tmp_path / "runs", cluster, "mine")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, before)
    assert not (fake / "number").exists()


def test_a_scheduler_that_does_not_answer_is_said(
    fake: Path, tmp_path: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweeps.slurm.PATIENCE", 0.2)
    (fake / "sbatch").write_text("#!/bin/bash\nexec sleep 20\n")
    with pytest.raises(UserError, match=r"sbatch does not answer .*Nothing was submitted"):
        submit(points(3), tmp_path, cluster, "mine")


def test_a_point_that_is_evaluated_is_timed_alone(fake: Path, tmp_path: Path, cluster: Cluster) -> None:
    ready, new = points(3, 4)
    evaluate_points([ready], tmp_path)
    arrays = arrays_of(plan([ready, new], tmp_path), cluster, "", "mine")
    assert [(array.timed, array.after is None, array.tasks) for array in arrays] == [
        (False, True, ((new,),)),
        (True, False, ((new,),)),
        (True, True, ((ready,),)),
    ]


@pytest.mark.parametrize(
    ("kind", "retried"),
    [
        ("timeout", {"timeout", "all"}),
        ("out of memory", {"oom", "all"}),
        ("diverged", {"failed", "all"}),
        ("user", {"failed", "all"}),
    ],
)
def test_what_failed_is_taken_up_where_that_is_asked_for(
    fake: Path, cluster: Cluster, kind: str, retried: set[str]
) -> None:
    (cause,) = (Cause(each) for each in KINDS if each.name == kind)
    failed = Point(points(3)[0], "failed", cause=cause)
    for retry in ("", "failed", "timeout", "oom", "all"):
        assert bool(arrays_of([failed], cluster, retry, "mine")) == (retry in retried)


def test_what_runs_or_waits_or_is_done_is_left_alone(fake: Path, runs: Path, cluster: Cluster) -> None:
    done = plan([small("tsn")], runs)
    assert states(done) == ["done"] and arrays_of(done, cluster, "all", "mine") == []
    for state in ("running", "queued"):
        assert arrays_of([Point(points(3)[0], state)], cluster, "all", "mine") == []


# --- Once -------------------------------------------------------------------------------------------------------------


def test_a_second_submission_adds_nothing_while_the_first_waits(fake: Path, tmp_path: Path, cluster: Cluster) -> None:
    runs = tmp_path / "runs"
    first = submit(points(3, 4), runs, cluster, "mine")
    assert [submission.job for _, submission in first.arrays if submission] == ["11", "12"]
    lines = [f"{job}_{task}|PENDING|Resources||a|0:00" for job in (11, 12) for task in (0, 1)]
    (fake / "squeue.out").write_text(named(runs, *lines))
    second = submit(points(3, 4, 5), runs, cluster, "mine")
    assert states(second.points) == ["queued", "queued", "missing"]
    assert [len(array.tasks) for array, _ in second.arrays] == [1, 1]
    assert "--dependency=aftercorr:11" in (fake / "12.sh").read_text()
    assert "--dependency=afterok:13" in (fake / "14.sh").read_text()


def test_more_points_of_a_training_that_runs_follow_when_it_has_ended(
    fake: Path, tmp_path: Path, cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of any recipe, instead of holding a GPU to wait for it; each behind its own job."""
    first, second = points(3, 4)
    submit([first, second], tmp_path, cluster, "mine")
    queue_of = named(tmp_path, "11_0|RUNNING|None|n|a|0:01", "11_1|PENDING|Resources||a|0:00")
    (fake / "squeue.out").write_text(queue_of)
    more = [replace(point, evaluation=replace(point.evaluation, frames=2)) for point in (first, second)]
    dry = submit([*more, *points(5)], tmp_path, cluster, "yours", dry=True)
    handed = submit([*more, *points(5)], tmp_path, cluster, "yours")
    for found in (dry, handed):
        assert sorted(array.behind for array, _ in found.arrays if not array.timed) == ["", "11_0", "11_1"]
    for array, submission in handed.arrays:
        assert submission is not None
        script = (fake / f"{submission.job}.sh").read_text()
        assert (f"--dependency=afterany:{array.behind}\n" in script) == bool(array.behind)
        assert ("--dependency=afterok:" in script) == array.timed
    print_submission(handed, tmp_path, dry=False)
    assert capsys.readouterr().out.count(", after job 11_") == 2


def test_a_training_that_runs_is_running_though_its_times_wait(fake: Path, tmp_path: Path, cluster: Cluster) -> None:
    submit(points(3), tmp_path, cluster, "mine")
    (fake / "squeue.out").write_text(named(tmp_path, "11|RUNNING|None|n|a|0:01", "12|PENDING|Dependency||a|0:00"))
    (point,) = plan(points(3), tmp_path)
    assert point.state == "running" and point.alive == ("11", "12") and point.place and point.place.id == "11"


def test_accounting_is_asked_of_what_is_gone_alone_and_not_for_long(
    fake: Path, tmp_path: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit(points(3), tmp_path, cluster, "mine")
    (fake / "sacct").write_text('#!/bin/bash\necho sacct >> "$FAKE/asked"\nexec sleep 20\n')
    monkeypatch.setattr("sweeps.queue.DECORATION", 0.2)
    (fake / "squeue.out").write_text(named(tmp_path, "12|PENDING|Resources||a|0:00"))
    assert states(plan(points(3), tmp_path)) == ["queued"]
    assert "sacct" not in (fake / "asked").read_text(), "of a training that ended its times are what is left"
    (fake / "squeue.out").write_text("")
    began = time.monotonic()
    assert states(plan(points(3), tmp_path)) == ["missing"]
    assert "sacct" in (fake / "asked").read_text() and time.monotonic() - began < 10


def test_a_submission_waits_for_what_was_cancelled_and_takes_it_up(
    fake: Path,
    tmp_path: Path,
    cluster: Cluster,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    submit(points(3), tmp_path, cluster, "mine")
    (fake / "squeue.out").write_text(named(tmp_path, "11|COMPLETING|None|n|a|0:30"))
    ended = named(tmp_path, "11|CANCELLED by 0|None|n|a|0:30", "12|CANCELLED by 0|None||a|0:00")
    (fake / "sacct.out").write_text(ended)
    (point,) = plan(points(3), tmp_path)
    assert point.job and point.job.ends and point.job.reason == ""
    monkeypatch.setattr("sweeps.slurm.POLL", 0.0)
    monkeypatch.setattr("time.sleep", lambda _: (fake / "squeue.out").write_text(""))
    handed = submit(points(3), tmp_path, cluster, "mine")
    assert states(handed.points) == ["missing"] and len(handed.arrays) == 2
    assert handed.points[0].job and (handed.points[0].job.state, handed.points[0].job.reason) == ("CANCELLED", "")
    print_plan(handed.points, tmp_path)
    print_triage(handed.points)
    assert capsys.readouterr().out.count("of the missing: 1 cancelled -> submit again to go on") == 2
    assert "Waiting for jobs that are ending: 11" in caplog.text


def test_a_job_that_does_not_end_is_waited_for_so_long_and_no_longer(
    fake: Path, tmp_path: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    submit(points(3), tmp_path, cluster, "mine")
    (fake / "squeue.out").write_text(named(tmp_path, "11|COMPLETING|None|n|a|0:30"))
    monkeypatch.setattr("sweeps.slurm.ENDING", 0.0)
    handed = submit(points(3), tmp_path, cluster, "mine")
    print_submission(handed, tmp_path, dry=False)
    assert states(handed.points) == ["running"] and not handed.arrays
    said = capsys.readouterr().out
    assert "1 point: 1 running. Nothing was submitted." in said and "1 point of jobs that still end: submit" in said


@pytest.mark.parametrize(
    ("reason", "hopeless"),
    [
        ("PartitionTimeLimit", True),
        ("DependencyNeverSatisfied", True),
        ("JobHeldUser", True),
        ("QOSMaxWallDurationPerJobLimit", True),
        ("BadConstraints", True),
        ("Resources", False),
        ("Priority", False),
        ("Dependency", False),
        ("QOSMaxJobsPerUserLimit", False),
        ("BeginTime", False),
    ],
)
def test_what_does_not_come_by_waiting_is_told(reason: str, hopeless: bool) -> None:
    assert Job("1", "PENDING", reason).is_hopeless is hopeless
    assert not Job("1", "RUNNING", reason).is_hopeless


def test_what_is_gone_from_the_queue_without_a_word_is_missing(fake: Path, tmp_path: Path, cluster: Cluster) -> None:
    submit(points(3), tmp_path, cluster, "mine")
    assert states(plan(points(3), tmp_path)) == ["missing"]


def test_a_job_that_failed_before_it_began_to_work_is_failed(
    fake: Path, tmp_path: Path, cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    handed = submit(points(3), tmp_path, cluster, "mine")
    submission = handed.arrays[0][1]
    assert submission is not None
    log = Ledger(tmp_path).jobs_folder(submission) / "11_0_log.err"
    log.write_text("bash: line 1: python: command not found\n")
    (fake / "sacct.out").write_text(named(tmp_path, "11|FAILED|None|n|a|0:01", "12|CANCELLED|None||a|0:00"))
    (point,) = plan(points(3), tmp_path)
    assert point.state == "failed" and point.cause and point.cause.kind.name == "import"
    for retry, words in (
        ("", "Nothing was submitted.\nLeft for --retry: 1 failed point ("),
        ("all", "1 point: 1 failed.\n"),
    ):
        print_submission(submit(points(3), tmp_path, cluster, "mine", retry), tmp_path, dry=False)
        assert words in capsys.readouterr().out


def test_an_error_in_an_earlier_attempt_does_not_fail_a_later_job(fake: Path, tmp_path: Path, cluster: Cluster) -> None:
    """Which was cancelled before it came to an attempt of its own."""
    (point,) = points(3)
    folder = training_folder(tmp_path, point)
    folder.mkdir(parents=True)
    begun = {"number": 1, "began": 1.0, "job": {"id": "5"}, "points": [point.experiment_id]}
    ended = {"number": 1, "ended": 2.0, "error": {"kind": "ValueError", "text": "old"}}
    (folder / "attempts.jsonl").write_text(f"{json.dumps(begun)}\n{json.dumps(ended)}\n")
    assert states(plan([point], tmp_path)) == ["failed"]
    submit([point], tmp_path, cluster, "mine", retry="failed")
    (fake / "sacct.out").write_text(named(tmp_path, "11|CANCELLED by 0|None||a|0:00"))
    assert states(plan([point], tmp_path)) == ["missing"]


def test_a_submission_cut_short_is_taken_back_and_made_again(fake: Path, tmp_path: Path, cluster: Cluster) -> None:
    """A submitter killed between sbatch and its note of it."""
    ledger = Ledger(tmp_path)
    with ledger.held():
        orphan = ledger.begin("slurm", "mine", False, [[point.experiment_id] for point in points(3, 4)])
    (fake / "squeue.out").write_text(f"9_0|PENDING|None||{orphan.token}|0:00\n9_1|PENDING|None||{orphan.token}|0:00\n")
    handed = submit(points(3, 4), tmp_path, cluster, "mine")
    assert states(handed.points) == ["missing", "missing"] and len(handed.arrays) == 2
    assert [line.split()[1:] for line in (fake / "asked").read_text().splitlines() if "scancel" in line] == [["9"]]
    assert [each.withdrawn for each in ledger.read()] == [True, False, False]


def test_what_slurm_refuses_is_said_before_anything_is_submitted(fake: Path, tmp_path: Path) -> None:
    nope = find_cluster("slurm", {"gpus": 0, "partition": "nope"})
    with pytest.raises(UserError, match=r"partition 'nope'.*invalid partition specified: nope.*Nothing was submitted"):
        submit(points(3), tmp_path, nope, "mine")
    assert Ledger(tmp_path).read() == [] and not (fake / "number").exists()


@pytest.mark.parametrize(
    ("nodes", "flags", "waits"),
    [
        ("gpu*|up|drained*|8|64000|gpu:h100:4(S:0-1)|h100,ib|infinite", {}, True),
        ("gpu*|down|idle|8|64000|gpu:4|(null)|infinite", {"gpus": 4}, True),
        ("gpu*|up|idle|8|64000|gpu:4|(null)|infinite", {}, False),
        ("gpu*|up|down|8|64000|gpu:4|(null)|infinite", {"cpus": 9}, False),
        ("gpu*|up|down|8|64000|gpu:4|(null)|infinite", {"memory": "63G"}, False),
        ("gpu*|up|down|8|64000|gpu:a:2,gpu:b:1|(null)|infinite", {"gpus": 4}, False),
        ("gpu*|up|down|8|64000|gpu:4|h100,ib|infinite", {"constraint": "h100&ib"}, True),
        ("gpu*|up|down|8|64000|gpu:4|h100,ib|infinite", {"constraint": "a100"}, False),
        ("gpu*|up|down|8|64000|gpu:4|h100,ib|infinite", {"constraint": "a100|h100"}, True),
        ("other|up|down|8|64000|gpu:4|(null)|infinite", {}, False),
        ("", {}, False),
    ],
)
def test_jobs_wait_for_nodes_that_are_down_and_are_refused_where_none_could(
    fake: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, nodes: str, flags: dict[str, object], waits: bool
) -> None:
    """sbatch --test-only says the same of both."""
    (fake / "sinfo").write_text(f"#!/bin/bash\n[ -n '{nodes}' ] && echo '{nodes}'\nexit 0\n")
    (fake / "sinfo").chmod(0o755)
    refusal = 'if [ "$1" = --test-only ]; then echo "Requested node configuration is not available" >&2; exit 1; fi'
    (fake / "sbatch").write_text(SBATCH.replace("#!/bin/bash", f"#!/bin/bash\n{refusal}"))
    asked = find_cluster("slurm", {"gpus": 1, "memory": "32G", **flags})
    each = [replace(point, training=replace(point.training, micro_batch=1)) for point in points(3)]
    if waits:
        assert len(submit(each, tmp_path, asked, "mine").arrays) == 2
        assert "Training jobs will wait: what could run them is down or drained (1 of the nodes" in caplog.text
    else:
        with pytest.raises(UserError, match=r"configuration is not available.*Nothing was submitted"):
            submit(each, tmp_path, asked, "mine")


@pytest.mark.parametrize(
    ("limits", "flags", "refused"),
    [
        (["30:00"], {"time": "31"}, True),
        (["30:00"], {"time": "30"}, False),
        (["30:00"], {"time": "31", "qos": "long"}, False),
        (["30:00", "1-00:00:00"], {"time": "24:00:00"}, False),
        (["30:00", "1-00:00:00"], {"time": "24:01:00"}, True),
        (["infinite"], {"time": "9-00:00:00"}, False),
    ],
)
def test_a_time_that_no_partition_allows_is_refused(
    fake: Path, tmp_path: Path, limits: list[str], flags: dict[str, object], refused: bool
) -> None:
    """SLURM may take such jobs, that then wait for ever."""
    lines = "".join(f"gpu*|up|idle|8|64000|gpu:4|(null)|{limit}\n" for limit in limits)
    (fake / "sinfo").write_text(f"#!/bin/bash\nprintf '{lines}'\n")
    (fake / "sinfo").chmod(0o755)
    asked = find_cluster("slurm", {"gpus": 0, **flags})
    if refused:
        with pytest.raises(
            UserError, match=r"time is .*lets jobs run (30|1440) minutes at most. Nothing was submitted"
        ):
            submit(points(3), tmp_path, asked, "mine")
    else:
        assert len(submit(points(3), tmp_path, asked, "mine").arrays) == 2


def test_a_limit_reached_half_way_keeps_what_was_taken(
    fake: Path, tmp_path: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAIL_AT", "13")
    with pytest.raises(UserError, match=r"took some jobs and refuses the rest.*submits what is missing"):
        submit(points(2, 3, 4, 5, 6), tmp_path, cluster, "mine")
    assert [(each.job, each.withdrawn) for each in Ledger(tmp_path).read()] == [
        ("11", False),
        ("12", False),
        ("", True),
    ]


def test_jobs_of_an_orphan_that_come_later_are_taken_back_too(fake: Path, tmp_path: Path, cluster: Cluster) -> None:
    """An sbatch that outlived its submitter, or said that it failed though SLURM had the job."""
    ledger = Ledger(tmp_path)
    with ledger.held():
        orphan = ledger.begin("slurm", "mine", False, [[point.experiment_id] for point in points(3)])
        ledger.withdraw(orphan)
    (fake / "squeue.out").write_text(f"9|PENDING|None||{orphan.token}|0:00\n")
    submit(points(3), tmp_path, cluster, "mine")
    assert [line.split()[1:] for line in (fake / "asked").read_text().splitlines() if "scancel" in line] == [["9"]]


SWEEP = """
from tests.conftest import small

def recipe(tiny):
    \"\"\"Two.\"\"\"
    return [small("tsn", frames=count) for count in (3, 4)]
"""


def test_cancelling_names_points_that_end_too_and_takes_back_what_nobody_noted(
    fake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of two points that share a job, and a submission that was killed half-way."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(SWEEP)
    main(["sweep", "cancel", "mine.py"])
    assert "0 jobs cancelled: none waits or runs." in capsys.readouterr().out and not (tmp_path / "runs").exists()
    first, second = points(3, 4)
    ledger = Ledger(tmp_path / "runs")
    with ledger.held():
        shared = ledger.begin("slurm", "mine", False, [[first.experiment_id, second.experiment_id]])
        ledger.handed_over(shared, "11")
        orphan = ledger.begin("slurm", "mine", True, [[first.experiment_id]])
    queue_of = f"11|PENDING|None||{shared.token}|0:00\n12|PENDING|None||{orphan.token}|0:00\n"
    (fake / "squeue.out").write_text(queue_of)
    main(["sweep", "cancel", "mine.py", "--points", first.experiment_id[:6]])
    said = capsys.readouterr().out
    assert "2 jobs cancelled: 11, 12;" in said and "With them 1 other point in the same jobs" in said
    asked = [line.split()[1:] for line in (fake / "asked").read_text().splitlines() if "scancel" in line]
    assert asked == [["12"], ["11"]]


def test_a_job_of_another_name_is_not_ours_whatever_its_id(fake: Path, tmp_path: Path, cluster: Cluster) -> None:
    """As on another cluster, to which the folder was copied: nobody's jobs are cancelled for that."""
    submit(points(3), tmp_path, cluster, "mine")
    (fake / "squeue.out").write_text("11|RUNNING|None|n|interactive|0:01\n")
    (fake / "sacct.out").write_text("12|FAILED|None|n|other|0:01\n11|FAILED|None|n|other|0:01\n")
    (point,) = plan(points(3), tmp_path)
    assert (point.state, point.alive, point.job) == ("missing", (), None)


def test_a_point_that_was_done_while_slurm_was_asked_is_done(
    fake: Path, runs: Path, tmp_path: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    point = small("tsn")
    submit([point], tmp_path, cluster, "mine")

    def meanwhile() -> dict[str, Job]:
        shutil.copytree(runs / point.data.dataset, tmp_path / point.data.dataset)
        return {}

    monkeypatch.setattr(queue, "queued", meanwhile)
    assert states(plan([point], tmp_path)) == ["done"]


def test_the_queue_is_asked_for_who_asks_whatever_the_environment_says(
    fake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "somebody")
    queue.queued()
    assert f"--user {os.geteuid()} " in (fake / "asked").read_text()


@pytest.mark.parametrize(
    ("log", "state"),
    [
        ("training, step 3 of 9\n", "queued"),
        ("slurmstepd: error: *** JOB 11 ON n CANCELLED AT 2026-01-01T00:00:00 DUE TO PREEMPTION ***\n", "queued"),
        ("slurmstepd: error: *** JOB 11 ON n CANCELLED AT 2026-01-01T00:00:00 ***\n", "missing"),
        ("afbench: The loss became nan at step 3 of 9.\n", "failed"),
    ],
)
def test_what_may_go_on_is_not_failed_while_slurm_does_not_answer(
    fake: Path, tmp_path: Path, cluster: Cluster, caplog: pytest.LogCaptureFixture, log: str, state: str
) -> None:
    (point,) = points(3)
    submission = submit([point], tmp_path, cluster, "mine").arrays[0][1]
    assert submission is not None
    begun = {"number": 1, "began": 1.0, "job": {"id": "11"}, "points": [point.experiment_id]}
    folder = training_folder(tmp_path, point)
    folder.mkdir(parents=True)
    (folder / "attempts.jsonl").write_text(f"{json.dumps(begun)}\n")
    (Ledger(tmp_path).jobs_folder(submission) / "11_0_log.err").write_text(log)
    (fake / "squeue").write_text(f"#!/bin/bash\necho no contact {state}{len(log)} >&2\nexit 1\n")
    for _ in range(2):
        assert states(plan([point], tmp_path)) == [state]
    assert caplog.text.count("squeue failed: no contact") == 1 and "told from files alone" in caplog.text
    with pytest.raises(UserError, match="squeue failed: no contact"):
        submit([point], tmp_path, cluster, "mine")


def test_times_of_a_training_that_another_job_works_on_follow_it(fake: Path, tmp_path: Path, cluster: Cluster) -> None:
    (point,) = plan(points(3), tmp_path)
    flying = {point.experiment.training_id: "9"}
    (array,) = arrays_of([replace(point, evaluated=True)], cluster, "", "mine", flying=flying)
    assert (array.timed, array.behind, array.after) == (True, "9", None)


@pytest.mark.parametrize(("line", "behind"), [("RUNNING|None|n|a|0:01", "11"), ("PENDING|JobHeldUser||a|0:00", "")])
def test_nothing_follows_a_job_that_will_not_begin(
    fake: Path, tmp_path: Path, cluster: Cluster, line: str, behind: str
) -> None:
    (first,) = points(3)
    submit([first], tmp_path, cluster, "mine")
    (fake / "squeue.out").write_text(named(tmp_path, f"11|{line}"))
    more = replace(first, evaluation=replace(first.evaluation, frames=2))
    found = submit([more], tmp_path, cluster, "yours", dry=True)
    assert [array.behind for array, _ in found.arrays if not array.timed] == [behind]


def test_jobs_at_a_time_are_those_of_all_arrays_together(fake: Path, tmp_path: Path, cluster: Cluster) -> None:
    """Eight trainings in arrays of 3, 3 and 2."""
    for parallel, shares in ((0, [0, 0, 0]), (1, [1, 1, 1]), (4, [1, 2, 1]), (9, [3, 3, 3]), (24, [9, 9, 6])):
        capped = replace(
            cluster,
            training=replace(cluster.training, parallel=parallel),
            timing=replace(cluster.timing, parallel=parallel),
        )
        arrays = arrays_of(plan(points(*range(1, 9)), tmp_path), capped, "", "mine")
        for timed in (False, True):
            found = [array.resources.parallel for array in arrays if array.timed == timed]
            assert found == shares and (parallel < 3 or sum(found) == parallel)
        assert arrays_of([], capped, "", "mine") == []
    flying = {point.training_id: f"9_{number}" for number, point in enumerate(points(1, 2, 3, 4))}
    arrays = arrays_of(plan(points(*range(1, 9)), tmp_path), capped, "", "mine", flying=flying)
    shares = [array.resources.parallel for array in arrays if not array.timed and not array.behind]
    assert shares == [17, 7], "without those behind other jobs, in whose place they run"
    assert {array.resources.parallel for array in arrays if array.behind} == {1}


def test_a_dry_run_prints_what_sbatch_gets(
    fake: Path, tmp_path: Path, cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    """Word for word, but for what is known only when it is handed over; also in a folder with a name of its own."""
    runs = tmp_path / "a user's runs"
    print_submission(submit(points(3, 4), runs, cluster, "mine", dry=True), runs, dry=True)
    said = capsys.readouterr().out
    for number, (_, submission) in enumerate(submit(points(3, 4), runs, cluster, "mine").arrays, start=11):
        assert submission is not None
        text = (fake / f"{number}.sh").read_text()
        text = text.replace(submission.token, "afbench-TOKEN").replace("aftercorr:11", "aftercorr:JOB")
        assert text in said


def test_a_dry_run_says_what_slurm_refuses(fake: Path, tmp_path: Path) -> None:
    nope = find_cluster("slurm", {"gpus": 0, "partition": "nope"})
    with pytest.raises(UserError, match="invalid partition specified: nope"):
        submit(points(3), tmp_path / "runs", nope, "mine", dry=True)
    assert not (tmp_path / "runs").exists()


def test_a_dry_run_leaves_nothing(fake: Path, tmp_path: Path, cluster: Cluster) -> None:
    handed = submit(points(3, 4), tmp_path / "runs", cluster, "mine", dry=True)
    assert [submission for _, submission in handed.arrays] == [None, None] and not (tmp_path / "runs").exists()


def test_more_processes_than_a_step_has_parts_are_refused(fake: Path, tmp_path: Path) -> None:
    two = find_cluster("slurm", {"gpus": 0, "nodes": 2})
    with pytest.raises(UserError, match=r"2 processes .* cannot share a step of 1 parts"):
        submit(points(3), tmp_path, two, "mine")


def test_points_are_chosen_by_the_beginning_of_their_ids(tmp_path: Path) -> None:
    found = plan(points(3, 4), tmp_path)
    name = found[1].experiment.experiment_id
    assert chosen(found, [name[:5]]) == [found[1]] and chosen(found, []) == found
    with pytest.raises(UserError, match="No point of the recipe has an experiment id that begins with 'zz'"):
        chosen(found, ["zz"])


def test_a_record_cut_short_is_not_taken_for_done(runs: Path, tmp_path: Path) -> None:
    point = small("tsn")
    path = point_folder(tmp_path, point) / "result.json"
    path.parent.mkdir(parents=True)
    text = (point_folder(runs, point) / "result.json").read_text()
    path.write_text(text)
    assert states(plan([point], tmp_path)) == ["done"]
    path.write_text(text[:-40])
    with pytest.raises(UserError, match="not a complete record"):
        plan([point], tmp_path)
    assert find_recipe("demo").points(True)
