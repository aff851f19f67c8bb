"""Why jobs ended: by the scheduler's state, by the attempt's error, by the log; what comes first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.attempts import Attempt
from sweeps.queue import Job
from sweeps.triage import KINDS, TAIL, cause_of, tail

TRACE = 'Traceback (most recent call last):\n  File "a.py", line 3, in f\n    g()\n'


def tried(error: dict[str, str] | None = None, ended: float | None = 2.0) -> Attempt:
    return Attempt(1, 1.0, "node1", None, {}, ("a",), ended, error)


def job(state: str) -> Job:
    return Job("12_3", state)


def said(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("state", "kind", "is_failure"),
    [
        ("CANCELLED", "cancelled", False),
        ("PREEMPTED", "preempted", False),
        ("NODE_FAIL", "node", False),
        ("TIMEOUT", "timeout", True),
        ("OUT_OF_MEMORY", "out of memory", True),
        ("FAILED", "killed", True),
    ],
)
def test_the_schedulers_word_tells(tmp_path: Path, state: str, kind: str, is_failure: bool) -> None:
    cause = cause_of(tried(ended=None), job(state), said(tmp_path / "log", "training, step 3 of 9\n"))
    assert cause is not None and (cause.kind.name, cause.is_failure) == (kind, is_failure)


@pytest.mark.parametrize(
    ("log", "kind", "line"),
    [
        (TRACE + "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB\n", "out of memory", "Tried to"),
        (TRACE + "ModuleNotFoundError: No module named 'torch'\n", "import", "No module named 'torch'"),
        (TRACE + "RuntimeError: NCCL error in: x.cpp:3, unhandled system error\n", "nccl", "NCCL error"),
        (
            "afbench: Process 0 of 2 lost another one, which was killed ([gloo/pair.cc:5] closed).\n",
            "nccl",
            "lost another",
        ),
        ("afbench: Process 0 of 2 lost another one, which was killed (Broken pipe).\n", "nccl", "lost another"),
        (TRACE + "torch.AcceleratorError: CUDA error: device-side assert triggered\n", "cuda", "CUDA error"),
        ("afbench: The loss became nan at step 3 of 9 in runs.\n", "diverged", "became nan"),
        (
            "afbench: The logits of validation video 3 are not finite; the checkpoint is not usable.\n",
            "diverged",
            "video 3",
        ),
        ("afbench: The train video 'a' cannot be used: a/1.jpg is empty.\n", "data", "cannot be used"),
        (
            "slurmstepd: error: *** JOB 3 ON n CANCELLED AT 2026-01-01T00:00:00 DUE TO TIME LIMIT ***\n",
            "timeout",
            "TIME",
        ),
        ("slurmstepd: error: Detected 1 oom_kill event in StepId=3.0.\n", "out of memory", "oom_kill"),
        (TRACE + "OSError: [Errno 28] No space left on device\n", "disk", "No space left"),
        (
            "afbench: r/evaluated.json was moved away or damaged while its point was timed; run it again.\n",
            "disk",
            "moved",
        ),
        ("afbench: model.frames is 0.\n", "user", "model.frames"),
        (TRACE + "ValueError: what was that\n", "error", "ValueError: what was that"),
        ("bash: python: command not found\n", "import", "command not found"),
        ("slurmstepd: error: execve(): /home/me/.venv/bin/python: No such file or directory\n", "import", "No such"),
        ("training, step 3 of 9\n", "killed", "step 3 of 9"),
        ("n1:7:9 [0] NCCL INFO Bootstrap\nstep 3 of 9\n", "killed", "step 3 of 9"),
        ("[rank0]:[W1 ProcessGroupNCCL.cpp:9] Warning: WARNING: process group ...\nstep 3\n", "killed", "step 3"),
        ("afbench: A worker that makes clips died (killed by SIGKILL).\n", "out of memory", "SIGKILL"),
        ("afbench: A worker that makes clips died (killed by SIGSEGV).\n", "data", "SIGSEGV"),
    ],
)
def test_the_log_tells_and_its_lines_are_shown(tmp_path: Path, log: str, kind: str, line: str) -> None:
    cause = cause_of(None, job("FAILED"), said(tmp_path / "log", log))
    assert cause is not None and cause.kind.name == kind and cause.is_failure
    assert any(line in shown for shown in cause.lines) and cause.log == tmp_path / "log"


@pytest.mark.parametrize(
    ("name", "text", "kind"),
    [
        ("Diverged", "The loss became nan", "diverged"),
        ("UserError", "The train video 'a' cannot be used: it is empty", "data"),
        ("UserError", "model.frames is 0", "user"),
        ("OutOfMemoryError", "CUDA out of memory", "out of memory"),
        ("ValueError", "what was that", "error"),
        ("SystemExit", "-1", "preempted"),
        ("KeyboardInterrupt", "", "cancelled"),
    ],
)
def test_the_error_that_an_attempt_left_tells(name: str, text: str, kind: str) -> None:
    cause = cause_of(tried({"kind": name, "text": text}), None, None)
    assert cause is not None and cause.kind.name == kind
    assert cause.lines == ((text,) if text else ())


def test_what_ended_well_or_was_never_begun_has_no_cause(tmp_path: Path) -> None:
    assert cause_of(tried(), None, None) is None
    assert cause_of(None, None, None) is None


def test_a_job_that_left_nothing_is_lost_and_no_failure(tmp_path: Path) -> None:
    cause = cause_of(None, None, tmp_path / "nowhere")
    assert cause is not None and (cause.kind.name, cause.is_failure) == ("lost", False)


PACKED = """training aaa
afbench: The loss became nan at step 3 of 9.
training bbb
afbench: timing.device is 'cuda', but torch sees no CUDA device here.
training ccc
{end}"""


def test_of_a_job_of_several_trainings_each_has_its_own_lines(tmp_path: Path) -> None:
    """Also where one failed before its attempt began, and the job as a whole went well."""
    path = said(tmp_path / "log", PACKED.format(end="INFO submitit: Job completed successfully\n"))
    for done in (job("COMPLETED"), None):
        cause = cause_of(None, done, path, "bbb")
        assert cause is not None and (cause.kind.name, cause.is_failure) == ("user", True)
        assert cause.lines == ("afbench: timing.device is 'cuda', but torch sees no CUDA device here.",)
        cause = cause_of(None, done, path, "ccc")
        assert cause is not None and (cause.kind.name, cause.is_failure) == ("lost", False)
        cause = cause_of(None, done, path, "ddd")
        assert cause is not None and cause.kind.name == "not reached"


def test_what_was_said_of_others_or_before_a_requeue_is_not_why_a_training_was_killed(tmp_path: Path) -> None:
    path = said(tmp_path / "log", PACKED.format(end="training, step 3 of 9\n"))
    cause = cause_of(tried(ended=None), job("FAILED"), path, "ccc")
    assert cause is not None and cause.kind.name == "killed"
    preempted = (
        "training ccc\nslurmstepd: error: *** JOB 3 ON n CANCELLED AT 2026-01-01T00:00:00 DUE TO PREEMPTION ***\n"
    )
    said(path, f"{preempted}training ccc\ntraining, step 3 of 9\n")
    cause = cause_of(tried(ended=None), job("FAILED"), path, "ccc")
    assert cause is not None and (cause.kind.name, cause.is_failure) == ("killed", True)


def test_a_job_that_is_cancelled_while_it_begins_is_cancelled(tmp_path: Path) -> None:
    """It comes to its training all the same, and is killed half a minute later."""
    lines = (
        "slurmstepd-n: error: *** JOB 31 ON n CANCELLED AT 2026-01-01T00:00:00 ***",
        "training aaa",
        "training, step 1 of 2",
        "srun: error: n: task 0: Killed",
    )
    cause = cause_of(tried(ended=None), None, said(tmp_path / "log", "\n".join(lines)), "aaa")
    assert cause is not None and (cause.kind.name, cause.lines) == ("cancelled", lines[:1])


def test_a_job_that_failed_without_a_log_could_not_write_it(tmp_path: Path) -> None:
    """As on a node that does not see the runs folder."""
    cause = cause_of(None, job("FAILED"), tmp_path / "nowhere", "aaa")
    assert cause is not None and (cause.kind.name, cause.is_failure) == ("no log", True)
    assert "all nodes see" in cause.kind.advice


def test_of_a_long_log_the_end_is_read(tmp_path: Path) -> None:
    path = said(tmp_path / "log", "x" * TAIL + "\nlast line\n")
    assert len(tail(path)) == TAIL and tail(path).endswith("last line\n")
    path.write_bytes(b"\xff\xfe end")
    assert tail(path).endswith(" end")


def test_every_kind_says_what_to_do() -> None:
    names: list[Any] = [kind.name for kind in KINDS]
    assert len(set(names)) == len(names) and all(kind.advice for kind in KINDS)
