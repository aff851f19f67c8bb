"""Where and with what a number was made: versions, commit, processor, accelerator. Imports no torch by itself."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import socket
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

# The code that runs, of all that a checkout holds: recipes, notes and results beside it change no number.
SOURCE = ("afnet", "baselines", "bench", "sweeps", "reports", "afbench.py")
PACKAGES = (
    "afnet-bench",
    "torch",
    "numpy",
    "pandas",
    "pyarrow",
    "av",
    "pillow",
    "simplejpeg",
    "fvcore",
    "ptflops",
    "submitit",
    "seaborn",
    "matplotlib",
    "triton",
    "nvidia-ml-py",
)


def describe_environment(device: str) -> dict[str, Any]:
    """Facts for the record; `device` is "cpu" or "cuda"."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "host": socket.gethostname(),
        "processor": processor(),
        "cores": available_cores(),
        "packages": {name: package_version(name) for name in PACKAGES},
        "source": source_version(),
        "device": describe_device(device),
    }


def available_cores() -> int:
    """Cores for this process: those it may run on, or its share where several of a training are on this machine."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    asked = os.environ.get("SLURM_CPUS_PER_TASK", "") if "SLURM_STEP_ID" in os.environ else ""
    if asked.isdigit():  # SLURM may bind them, or leave that to whoever runs
        return max(min(cores, int(asked)), 1)
    return max(cores // own_share(), 1)


def own_share() -> int:
    """Processes of a training that torchrun started on this machine, 1 for one alone."""
    several = os.environ.get("LOCAL_WORLD_SIZE", "")
    return max(int(several), 1) if several.isdigit() else 1


def processor() -> str:
    """The CPU's model name, or its architecture where the system does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def describe_device(device: str) -> dict[str, Any]:
    """Name and threads of the device a point ran on."""
    import torch

    if device == "cuda":
        properties = torch.cuda.get_device_properties(0)
        return {
            "kind": "cuda",
            "name": properties.name,
            "memory_bytes": properties.total_memory,
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
            "threads": torch.get_num_threads(),
        }
    return {"kind": "cpu", "name": processor(), "threads": torch.get_num_threads()}


ROOT = Path(__file__).resolve().parent.parent
# Of what was changed no more is kept: a file of results that nobody told git about is no source.
LARGEST_PATCH = 4_000_000

# In a copy of the source for jobs (`sweeps.snapshot`): the version that it is a copy of, and what was changed.
SNAPSHOT, SNAPSHOT_PATCH = "SNAPSHOT.json", "SNAPSHOT.diff"


@cache
def source_version() -> dict[str, Any]:
    """The checkout that this code runs from, as it was when this process first asked; nulls outside of one.

    Returns:
        commit; dirty: whether anything of SOURCE was changed; patch: a digest of what, None where nothing was.
    """
    if (ROOT / SNAPSHOT).is_file():
        version: dict[str, Any] = json.loads((ROOT / SNAPSHOT).read_text())
        return version
    if _git("rev-parse", "--show-toplevel") != str(ROOT):
        return {"commit": None, "dirty": None, "patch": None}
    dirty = bool(_git("status", "--porcelain", "--", *SOURCE))
    patch = hashlib.sha256(source_patch().encode()).hexdigest()[:16] if dirty else None
    return {"commit": _git("rev-parse", "HEAD"), "dirty": dirty, "patch": patch}


@cache
def source_patch() -> str:
    """What was changed of SOURCE since the commit, as `git apply` takes it, with files that are new."""
    if (ROOT / SNAPSHOT_PATCH).is_file():
        return (ROOT / SNAPSHOT_PATCH).read_text()
    parts = [_git("diff", "HEAD", "--binary", "--", *SOURCE, strip=False) or ""]
    new = (_git("ls-files", "--others", "--exclude-standard", "-z", "--", *SOURCE) or "").split("\0")
    small = [name for name in new if name and (ROOT / name).is_file() and (ROOT / name).stat().st_size < LARGEST_PATCH]
    # Exit status 1 says that they differ.
    parts += [
        _git("diff", "--no-index", "--binary", "/dev/null", name, expected=1, strip=False) or "" for name in small
    ]
    whole = "".join(parts)
    if len(whole) <= LARGEST_PATCH:
        return whole
    return f"# The first {LARGEST_PATCH} characters of {len(whole)}\n{whole[:LARGEST_PATCH]}"


def _git(*arguments: str, expected: int = 0, strip: bool = True) -> str | None:
    """What git says of the checkout; None where it cannot be asked."""
    command = ["git", "-C", str(ROOT), *arguments]
    try:
        answer = subprocess.run(command, capture_output=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    text = answer.stdout.decode(errors="replace")
    return (text.strip() if strip else text) if answer.returncode == expected else None


SUBMISSION = "AFNET_BENCH_SUBMISSION"


def describe_job() -> dict[str, Any] | None:
    """The scheduler's job that this process is part of, and who submitted it; None outside of one.

    Returns:
        scheduler, cluster, id (with the task of an array), restarts, nodes, node, tasks; submission: what the launcher
        left in the environment, see `sweeps.job`.
    """
    submission = json.loads(os.environ.get(SUBMISSION) or "null")
    if "SLURM_JOB_ID" not in os.environ:
        return None if submission is None else {"scheduler": "local", "submission": submission}
    array, task = (os.environ.get(f"SLURM_ARRAY_{name}_ID") for name in ("JOB", "TASK"))
    return {
        "scheduler": "slurm",
        "cluster": os.environ.get("SLURM_CLUSTER_NAME"),
        "id": f"{array}_{task}" if array else os.environ["SLURM_JOB_ID"],
        "restarts": int(os.environ.get("SLURM_RESTART_COUNT") or 0),
        "partition": os.environ.get("SLURM_JOB_PARTITION"),
        "nodes": os.environ.get("SLURM_JOB_NODELIST"),
        "node": os.environ.get("SLURMD_NODENAME"),
        "tasks": int(os.environ.get("SLURM_NTASKS") or 1),
        "submission": submission,
    }


def package_version(package: str) -> str | None:
    """Of an installed package, None where it is not there."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
