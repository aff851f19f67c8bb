"""What a device can do at most: bytes it copies and multiply-adds of a matrix product a second.

Measured once for each device, dtype, number of threads and torch, and kept in a file under the user's cache; the
variable AFNET_BENCH_CACHE names another folder. A timing's utilisation is the time that these roofs allow at best,
divided by the time it took.
"""

from __future__ import annotations

import json
import logging
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from bench.environment import describe_device
from bench.errors import UserError
from bench.files import make_folder, write_json
from bench.throughput import take_turns

log = logging.getLogger(__name__)

ROUNDS = 7
# Of the processor's and the accelerator's measurement: bytes copied, side of the matrices.
SIZES = {"cpu": (256 << 20, 1536), "cuda": (1 << 30, 8192)}


@dataclass(frozen=True)
class Roof:
    """The best of ROUNDS.

    Attributes:
        copy: bytes a second, those read and those written.
        product: multiply-adds a second of a square matrix product in this dtype.
    """

    copy: float
    product: float


def find_roof(device: torch.device, dtype: torch.dtype, reached: float = 0.0) -> Roof:
    """The cached roof of the device, measured first where there is none.

    Args:
        reached: multiply-adds a second that a network reached; where the cached roof is lower, something disturbed its
            measurement, which is made again, and the higher one is kept.
    """
    path, key = _cache(), _key(device, dtype)
    known = _known(_read(path), key)
    if known is not None and known.product >= reached:
        return known
    roof = measure(device, dtype)
    if known is not None:
        roof = Roof(max(roof.copy, known.copy), max(roof.product, known.product))
    try:
        make_folder(path.parent)
        write_json(path, {**_read(path), key: asdict(roof)})
    except UserError as error:
        log.warning("The roof of this device is measured again each time: %s", error)
    return roof


def _known(cache: dict[str, Any], key: str) -> Roof | None:
    try:
        roof = Roof(**{name: float(cache[key][name]) for name in ("copy", "product")})
    except (KeyError, TypeError, ValueError):
        return None
    return roof if min(roof.copy, roof.product) > 0 else None


def measure(device: torch.device, dtype: torch.dtype) -> Roof:
    """Copy a large tensor and multiply large matrices, in turns."""
    size, side = SIZES[device.type]
    source = torch.zeros(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    left, right = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    with torch.inference_mode():
        turns = take_turns(
            {"copy": lambda _: target.copy_(source), "product": lambda _: left @ right},
            device,
            rounds=ROUNDS,
            warmup=1.0,
        )
    copy, product = (min(turns.samples[name]) for name in ("copy", "product"))  # what disturbs only lowers a roof
    return Roof(copy=2 * size / copy, product=side**3 / product)


def utilisation(macs: float, traffic: int, seconds: float, roof: Roof) -> dict[str, Any]:
    """How near a forward came to the roof.

    Args:
        macs, traffic, seconds: multiply-adds, bytes and time of a forward.
    """
    arithmetic, memory = macs / roof.product, traffic / roof.copy
    return {
        "roof": asdict(roof),
        "bytes": traffic,
        "macs_per_byte": macs / traffic,
        "bound": "arithmetic" if arithmetic >= memory else "memory",
        "best_seconds": max(arithmetic, memory),
        "utilisation": max(arithmetic, memory) / seconds,
        "macs_per_second": macs / seconds,
    }


def _cache() -> Path:
    own = os.environ.get("AFNET_BENCH_CACHE")
    if own:
        return Path(own) / "roofs.json"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "afnet-bench" / "roofs.json"


def _key(device: torch.device, dtype: torch.dtype) -> str:
    facts = describe_device(device.type)
    return f"{facts['name']}, {facts.get('threads', 1)} threads, {dtype}, torch {torch.__version__}"


def _read(path: Path) -> dict[str, Any]:
    try:
        known = json.loads(path.read_text())
        if isinstance(known, dict):
            return known
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError):
        pass
    log.warning("%s is no cache of roofs that can be read; the device is measured anew.", path)
    return {}
