"""Why a job ended without its records, the lines of its log that tell, and what to do about it. Imports no torch."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.attempts import Attempt
from sweeps.queue import Job

TAIL = 64_000  # bytes of a log that are looked at
LINES = 6  # of them, that are shown


@dataclass(frozen=True)
class Kind:
    """A kind of end.

    Attributes:
        advice: what to do.
        is_failure: whether the same would happen again; otherwise the next submission takes it up.
        is_mistake: whether it has nothing to do with the point, so that the same would happen to others.
        is_vague: whether a job that goes on, or will after a requeue, leaves the same behind.
        pattern: that tells it in a log.
        states: that tell it in the scheduler's words.
        errors: Python exceptions that tell it.
    """

    name: str
    advice: str
    is_failure: bool = True
    pattern: str = ""
    states: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    is_mistake: bool = False
    is_vague: bool = False


# SLURM says the same of a STEP when it ends the processes that are left of several.
CANCELLED = r"JOB .*CANCELLED AT (?!.*DUE TO)"
# In the order in which they are tried: what says more comes first.
KINDS = (
    Kind(
        "cancelled",
        "submit again to go on",
        False,
        CANCELLED,
        ("CANCELLED",),
        ("KeyboardInterrupt",),
    ),
    Kind(
        "preempted",
        "submit again to go on",
        False,
        r"DUE TO PREEMPTION",
        states=("PREEMPTED", "REVOKED"),
        errors=("SystemExit",),
        is_vague=True,
    ),
    Kind(
        "node", "submit again to go on on another node", False, r"NODE FAILURE|node failure", ("NODE_FAIL", "BOOT_FAIL")
    ),
    Kind(
        "timeout",
        "submit with --retry timeout to go on from the last checkpoint, with a longer --time; where it made no "
        "progress, runtime.checkpoint_seconds must be shorter than a job",
        pattern=r"DUE TO TIME LIMIT|timed-out too many times|made no progress in",
        states=("TIMEOUT", "DEADLINE"),
        errors=("NoProgress",),
    ),
    Kind(
        "out of memory",
        "of the GPU: a smaller training.micro_batch or timing.batch; of the node: more --memory, fewer runtime.workers",
        pattern=r"[Oo]ut [Oo]f [Mm]emory|OutOfMemoryError|oom[-_ ]kill|OUT_OF_MEMORY|MemoryError"
        r"|worker that makes clips died \(killed by SIG(KILL|BUS)",
        states=("OUT_OF_MEMORY",),
        errors=("OutOfMemoryError", "MemoryError"),
    ),
    Kind(
        "diverged",
        "a lower training.lr, a longer training.warmup, or training.precision=float32",
        pattern=r"The loss (became|ran away)|The logits of validation video \d+ are not finite",
        errors=("Diverged",),
    ),
    Kind(
        "nccl",
        "processes did not reach each other: NCCL_DEBUG=INFO in the profile's setup says more; NCCL_SOCKET_IFNAME "
        "names the network",
        # What is only information, or a warning at the end of any process, is no reason.
        pattern=r"^(?!.*(NCCL INFO|NCCL version|[Ww]arning))"
        r".*(NCCL|ProcessGroup|gloo|did not find the others|lost another one)",
    ),
    Kind(
        "cuda",
        "--exclude the node if it is always the same; CUDA_LAUNCH_BLOCKING=1 says where",
        pattern=r"CUDA error|CUDA driver|cuDNN",
    ),
    Kind(
        "data",
        "`afbench data verify` lists what is wrong; data.settings.on_bad=skip leaves it out",
        pattern=r"cannot be used: |not prepared on this machine|holds .* with fingerprint|worker that makes clips died",
    ),
    Kind(
        "import",
        "the profile's setup must lead to the environment that submits; try it on a node",
        pattern=r"ModuleNotFoundError|ImportError|No module named|command not found|No such file .*python"
        r"|execve\(\): ",
        errors=("ModuleNotFoundError", "ImportError"),
        is_mistake=True,
    ),
    Kind(
        "disk",
        "make room, or mend the file system; submit with --retry failed",
        pattern=r"No space left|Disk quota|Stale file handle|Input/output error|Read-only|cannot be written|moved away",
        is_mistake=True,
    ),
    Kind(
        "user",
        "mend what the error says, then submit with --retry failed",
        pattern=r"^afbench: ",
        errors=("UserError",),
        is_mistake=True,
    ),
    Kind(
        "killed",
        "it ended without a word of its own, as where a node's memory ran out or somebody killed it; submit with "
        "--retry failed, and with more --memory where it happens again",
        pattern=r"^srun: error: .*task.*: (Killed|Segmentation fault|Bus error|Aborted)",
        is_vague=True,
    ),
)
UNKNOWN = Kind("error", "its log says more; submit with --retry failed")
UNSEEN = Kind(
    "no log",
    "it could not write even that: the runs folder must be one that all nodes see; submit with --retry failed",
    is_mistake=True,
)
LOST = Kind("lost", "its job is gone and left nothing; submit again", False, is_vague=True)
UNREACHED = Kind("not reached", "its job ended at another training; submit again", False, is_vague=True)
# Before the id of a training that a job comes to, in its log.
BEGAN = "training "
# submitit's last word in the log of a job that failed at nothing, or not at all of its trainings.
WELL = "Job completed successfully"


@dataclass(frozen=True)
class Cause:
    """Why a point has no record.

    Attributes:
        lines: of the log or the error, that tell.
        log: where it is; None where there is none.
    """

    kind: Kind
    lines: tuple[str, ...] = ()
    log: Path | None = None

    @property
    def is_failure(self) -> bool:
        return self.kind.is_failure


def cause_of(attempt: Attempt | None, job: Job | None, log: Path | None, training: str = "") -> Cause | None:
    """What ended the work on a point; None where nothing was begun, or it ended well.

    Args:
        attempt: the last one of the point's training, where the last job came to one.
        job: the last one, as the scheduler tells of it.
        log: of that job's errors.
        training: the point's, which a job may have left before it began.
    """
    said_by_job = ((attempt.job if attempt else None) or {}).get("submission") or {}
    if said_by_job.get("log"):
        log = Path(said_by_job["log"])
    whole = tail(log)
    state = job.state if job is not None else ""
    error = attempt.error if attempt is not None else None
    if attempt is None and job is None and not whole:
        return Cause(LOST, log=log) if log is not None else None
    if attempt is not None and attempt.ended is not None and error is None:
        return None
    if attempt is None and not whole and state == "FAILED":
        return Cause(UNSEEN, log=log)
    text, came_to_it = _part(whole, training)
    if attempt is None and not came_to_it:
        return Cause(UNREACHED, log=log)
    if attempt is None and (state == "COMPLETED" or WELL in whole):
        # Its other trainings went well; this one may have failed before its attempt began.
        state = ""
        if _kind(state, None, text).name == "killed":
            return Cause(LOST, _telling(text, ""), log)
    kind = _kind(state, error, text)
    if kind.name in ("nccl", "killed") and (found := _of_another(state, text, log)):
        return found
    said = tuple(error["text"].splitlines()[:LINES]) if error and error["text"] else ()
    return Cause(kind, said or _telling(text, kind.pattern), log)


def _part(text: str, training: str) -> tuple[str, bool]:
    """What a job's log says of one training since the job last came to it, and whether it came to it.

    All of the log, where it names no training.
    """
    _, *parts = re.split(rf"^{BEGAN}(\w+)$", text, flags=re.MULTILINE)
    own = [part for name, part in zip(parts[::2], parts[1::2], strict=True) if name == training]
    if not own:
        return text, not parts or not training
    # A job that is cancelled while it begins says so before it comes to a training; it is not requeued.
    cancelled = [line for line in re.findall(rf"^.*{CANCELLED}.*$", text, re.MULTILINE) if line not in own[-1]]
    return "\n".join([*cancelled, own[-1]]), True


def _beside(log: Path | None) -> list[Path]:
    """The logs of a job's other processes: submitit names them JOB_0_log.err, JOB_1_log.err, ..."""
    job, end, _ = log.name.partition("_0_log.err") if log is not None else ("", "", "")
    if log is None or not end:
        return []
    return sorted(path for path in log.parent.glob(f"{job}_*_log.err") if path != log)


def _of_another(state: str, text: str, log: Path | None) -> Cause | None:
    """Of processes that work together one has the reason; the others lost it, or were ended."""
    for other in _beside(log):
        found = _kind(state, None, tail(other))
        if found.name not in ("nccl", "killed", "preempted", "cancelled"):
            return Cause(found, _telling(tail(other), found.pattern), other)
    lost = _lost(text)
    return Cause(_kind("", None, lost), (lost,), log) if lost else None


def _lost(text: str) -> str:
    """What srun says of the process that was the first to end, where it did so without a word of its own."""
    first = re.search(r"^srun: error: .*task.*$", text, re.MULTILINE)
    return first[0] if first and "Exited with" not in first[0] else ""


def _kind(state: str, error: dict[str, str] | None, text: str) -> Kind:
    words = f"{error['kind']}: {error['text']}" if error else text
    for kind in KINDS:
        if state and state in kind.states:
            return kind
        if error and error["kind"] in kind.errors and kind.name != "user":
            return kind
    for kind in KINDS:
        if kind.pattern and re.search(kind.pattern, words, re.MULTILINE):
            return kind
    if error:
        return next((kind for kind in KINDS if error["kind"] in kind.errors), UNKNOWN)
    return UNKNOWN if "Traceback (most recent call last)" in text else KINDS[-1]


def tail(log: Path | None) -> str:
    """The end of a log; nothing where there is none."""
    if log is None:
        return ""
    try:
        with open(log, "rb") as file:
            file.seek(0, 2)
            file.seek(max(file.tell() - TAIL, 0))
            return file.read().decode(errors="replace")
    except OSError:
        return ""


def _telling(text: str, pattern: str) -> tuple[str, ...]:
    """The lines of a log that say why: those of the pattern, else the last exception, else the last ones."""
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    matching = [line for line in lines if pattern and re.search(pattern, line)]
    return tuple((matching or list(_exceptions(lines)) or lines)[-LINES:])


def _exceptions(lines: list[str]) -> Iterator[str]:
    """The line that names the exception, after each traceback."""
    inside = False
    for line in lines:
        if line.startswith("Traceback (most recent call last)"):
            inside = True
        elif inside and not line.startswith((" ", "\t")):
            inside = False
            yield line
