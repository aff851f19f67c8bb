"""Where and with what a number was made: versions, commit, processor, accelerator. Imports no torch by itself."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import socket
import subprocess
from pathlib import Path
from typing import Any

PACKAGES = (
    "afnet-bench",
    "torch",
    "numpy",
    "pandas",
    "pyarrow",
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
    """Cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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


def source_version() -> dict[str, Any]:
    """Commit of the checkout this code runs from and whether it was changed; nulls outside a checkout."""
    root = Path(__file__).resolve().parent.parent

    def git(*arguments: str) -> str | None:
        try:
            answer = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=10)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return answer.stdout.strip() if answer.returncode == 0 else None

    if git("rev-parse", "--show-toplevel") != str(root):
        return {"commit": None, "dirty": None}
    return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain"))}


def package_version(package: str) -> str | None:
    """Of an installed package, None where it is not there."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
