"""The device while something ran on it: clocks, throttling, energy, memory, and what stops the host.

NVML is asked through nvidia-ml-py where both are there; where not, the record says so and holds no number in its place.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

# Reasons in NVML's bit mask. Those that stand for too much heat or too little current make a timing not worth ranking;
# a power cap is how a busy card works, and is only named.
REASONS = {
    0x1: "idle",
    0x2: "application clocks",
    0x4: "power cap",
    0x8: "hardware slowdown",
    0x10: "sync boost",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "hardware power brake",
    0x100: "display clocks",
}
THROTTLING = 0x8 | 0x20 | 0x40 | 0x80
# Least seconds over which energy is taken: the counter ticks every few tens of milliseconds.
ENERGY_SECONDS = 2.0


def state(device: torch.device) -> dict[str, Any]:
    """Clocks in MHz, temperature in Celsius, power in watts, what slows the clocks; of a processor, load and clock."""
    if device.type != "cuda":
        return {"load": os.getloadavg()[0], "core_mhz": _core_mhz()}
    try:
        with _nvml(device) as (nvml, handle):
            mask = int(nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle))
            return {
                "core_mhz": nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM),
                "memory_mhz": nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_MEM),
                "temperature": nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU),
                "power": nvml.nvmlDeviceGetPowerUsage(handle) / 1e3,
                "reasons": [name for bit, name in REASONS.items() if mask & bit],
                "throttled": bool(mask & THROTTLING),
            }
    except Unavailable as error:
        return {"missing": str(error)}


class Unavailable(RuntimeError):
    """NVML or its library is not there, or does not answer."""


@contextmanager
def _nvml(device: torch.device) -> Iterator[tuple[Any, Any]]:
    """NVML and its handle of the device; Unavailable where it, or a question put to it, fails."""
    try:
        import pynvml
    except ImportError as error:
        raise Unavailable("nvidia-ml-py is not installed") from error
    try:
        pynvml.nvmlInit()
        try:
            # torch numbers the cards that it may see, NVML all of them.
            handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(device).uuid}")
            yield pynvml, handle
        finally:
            pynvml.nvmlShutdown()
    except pynvml.NVMLError as error:
        raise Unavailable(f"NVML: {error}") from error


def _core_mhz() -> float | None:
    """Mean over the cores, None where the system does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return None
    clocks = [float(line.partition(":")[2]) for line in lines if line.startswith("cpu MHz")]
    return sum(clocks) / len(clocks) if clocks else None


def joules(forward: Callable[[], Any], device: torch.device) -> dict[str, Any]:
    """Energy of a forward by NVML's counter, over as many as take ENERGY_SECONDS; why not, where there is none."""
    if device.type != "cuda":
        return {"missing": "no energy counter of a processor is read"}
    try:
        with _nvml(device) as (nvml, handle):
            torch.cuda.synchronize(device)
            before, started, calls = nvml.nvmlDeviceGetTotalEnergyConsumption(handle), time.perf_counter(), 0
            while time.perf_counter() - started < ENERGY_SECONDS:
                forward()
                torch.cuda.synchronize(device)
                calls += 1
            spent = (nvml.nvmlDeviceGetTotalEnergyConsumption(handle) - before) / 1e3  # of millijoules
            return {"joules_per_forward": spent / calls, "forwards": calls}
    except Unavailable as error:
        return {"missing": str(error)}


def peak_memory(forward: Callable[[], Any], device: torch.device) -> int | None:
    """Bytes of the device at the peak of a forward, weights and input included; None on a processor."""
    if device.type != "cuda":
        return None
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    forward()
    torch.cuda.synchronize(device)
    return int(torch.cuda.max_memory_allocated(device))


# Operators whose result, or its size, the host must know before it goes on.
aten = torch.ops.aten
STOPPING = {aten._local_scalar_dense, aten.nonzero, aten.masked_select, aten.is_nonzero, aten.equal, aten.unique_dim}
STOPPING |= {aten._unique2, aten.repeat_interleave}


class Watch(TorchDispatchMode):
    """Counts operators that stop the host, and the bytes that operators read and write.

    Attributes:
        stops: on an accelerator each of them waits for all that was launched before; counted on a processor too, where
            they cost nothing, since the same code runs on both.
        bytes: of every operator's inputs and results, views apart: what memory would move if nothing stayed in caches
            and nothing were fused.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stops = 0
        self.bytes = 0

    def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = operator(*args, **(kwargs or {}))
        self.stops += operator._overloadpacket in STOPPING
        if not operator.is_view:
            self.bytes += sum(map(_bytes, (*args, *(kwargs or {}).values(), result)))
        return result


def _bytes(value: Any) -> int:
    if isinstance(value, torch.Tensor):
        return value.numel() * value.element_size()
    return sum(map(_bytes, value)) if isinstance(value, (list, tuple)) else 0


def capture(forward: Callable[[], Any]) -> tuple[Callable[[], None], Any]:
    """A forward as one CUDA graph: what replays it, and what it returns, which every replay fills anew.

    Raises:
        RuntimeError: torch's, where something in it waits for the device or has a shape that depends on data.
    """
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            forward()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        output = forward()
    return graph.replay, output


def watch(forward: Callable[[], Any]) -> Watch:
    """What a forward did, by the watch's counts."""
    with Watch() as counts:
        forward()
    return counts
