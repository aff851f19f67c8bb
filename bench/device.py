"""The device while something ran on it: clocks, throttling, energy, memory, host stops, traffic, switches.

NVML is asked through nvidia-ml-py where both are there; where not, the record says so and holds no number in its place.
"""

from __future__ import annotations

import os
import time
import warnings
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
# Launched and not waited for, so that a card is at work while it is asked how it is.
BUSY_FORWARDS = 5


def state(device: torch.device, busy: Callable[[], Any]) -> dict[str, Any]:
    """Clocks in MHz, temperature in Celsius, power in watts, what slows the clocks; of a processor, load and clock.

    Args:
        busy: work that is launched before a card is asked, since an idle one is never slowed.
    """
    if device.type != "cuda":
        return {"load": os.getloadavg()[0], "core_mhz": _core_mhz()}
    try:
        with _nvml(device) as (nvml, handle):
            for _ in range(BUSY_FORWARDS):
                busy()
            mask = int(nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle))
            return {
                "core_mhz": nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM),
                "memory_mhz": nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_MEM),
                "temperature": nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU),
                "power": nvml.nvmlDeviceGetPowerUsage(handle) / 1e3,
                "power_limit": nvml.nvmlDeviceGetEnforcedPowerLimit(handle) / 1e3,
                "driver": nvml.nvmlSystemGetDriverVersion(),
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


@contextmanager
def plain_arithmetic(device: torch.device) -> Iterator[dict[str, Any]]:
    """Within it kernels are chosen by speed and float32 means float32; gives what is set, for the record.

    Training's deterministic kernels make scatters slow, which skipping needs and a dense forward does not.
    """
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        cudnn.benchmark,
        matmul.allow_tf32,
        cudnn.allow_tf32,
    )
    torch.use_deterministic_algorithms(False)
    cudnn.benchmark, matmul.allow_tf32, cudnn.allow_tf32 = device.type == "cuda", False, False
    try:
        yield {"deterministic": False, "cudnn_benchmark": cudnn.benchmark, "tf32": False}
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        cudnn.benchmark, matmul.allow_tf32, cudnn.allow_tf32 = before[2:]


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


def peak_memory(forward: Callable[[], Any], device: torch.device, held: int) -> int | None:
    """Bytes of the device at the peak of a forward; None on a processor.

    Args:
        held: of the network's weights and input, which are there before; other networks' do not count.
    """
    if device.type != "cuda":
        return None
    torch.cuda.synchronize(device)
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    forward()
    torch.cuda.synchronize(device)
    return int(torch.cuda.max_memory_allocated(device)) - before + held


def host_stops(forward: Callable[[], Any], device: torch.device) -> int | None:
    """How often a forward makes the host wait for the device, by torch's own watch; None on a processor."""
    if device.type != "cuda":
        return None
    torch.cuda.synchronize(device)
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            forward()
        finally:
            torch.cuda.set_sync_debug_mode(before)
    return sum("synchroniz" in str(warning.message) for warning in caught)


aten = torch.ops.aten
# Operators that read of their first argument only what they give back, and those that write only what they are given.
GATHERS = {aten.index_select, aten.index, aten.gather, aten.embedding, aten.take}
SCATTERS = {aten.index_copy_, aten.index_add_, aten.index_put_, aten.scatter_, aten.scatter_add_, aten.index_fill_}
WRITES = {aten.fill_, aten.zero_, aten.copy_, aten.zeros_like, aten.ones_like, aten.full_like}
NOTHING = {aten.empty, aten.empty_like, aten.empty_strided, aten.new_empty}


class Traffic(TorchDispatchMode):
    """Counts the bytes that operators read and write: what memory moves if nothing stays in caches or is fused.

    Composite operators are taken apart, views move nothing, gathers read and scatters write the rows they are about.
    """

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        with self:
            result = operator.decompose(*args, **kwargs)
        if result is NotImplemented:
            result = operator(*args, **kwargs)
            self.bytes += moved(operator, (*args, *kwargs.values()), result)
        return result


def moved(operator: Any, inputs: tuple[Any, ...], result: Any) -> int:
    """Bytes that one operator reads and writes."""
    packet, given, out = operator._overloadpacket, _tensors(inputs), _tensors((result,))
    changes = operator.__name__.partition(".")[0].endswith("_")
    if packet in NOTHING:
        return 0
    if not changes and any(_storage(one) == _storage(other) for one in out for other in given):
        return 0  # a view
    if packet in GATHERS:
        return 2 * sum(map(_size, out)) + sum(map(_size, given[1:]))
    if packet in SCATTERS:
        return sum(map(_size, given[1:])) + max(map(_size, given[1:]))
    if packet in WRITES:
        return sum(map(_size, given[1:])) + sum(map(_size, out))
    return sum(map(_size, given)) + sum(map(_size, out))


def _tensors(value: Any) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    return [tensor for part in value for tensor in _tensors(part)] if isinstance(value, (list, tuple)) else []


def _size(tensor: torch.Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _storage(tensor: torch.Tensor) -> int:
    # Packed weights of fused convolutions have no storage to ask for, and no views.
    return tensor.untyped_storage().data_ptr() if tensor.layout == torch.strided else id(tensor)


def traffic(forward: Callable[[], Any]) -> int:
    """Bytes that a forward's operators read and write."""
    with Traffic() as counts:
        forward()
    return counts.bytes


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
