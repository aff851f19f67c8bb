"""What surrounds a timing, with a card that exists only here."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from bench import device
from bench.device import host_stops, joules, peak_memory, plain_arithmetic, state, traffic

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)


class NVMLError(Exception):
    """As pynvml's."""


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """NVML of a card that spends 30 J a forward and is slowed by power and by heat."""
    facts = SimpleNamespace(energy=5_000_000, mask=0x4 | 0x40, opened=0, uuid="", fails=False, launched=0)

    def busy() -> None:
        facts.launched += 1

    facts.busy = busy

    def handle(uuid: str) -> str:
        if facts.fails:
            raise NVMLError("Driver Not Loaded")
        facts.uuid = uuid
        return "handle"

    def opened(step: int) -> Any:
        return lambda: setattr(facts, "opened", facts.opened + step)

    fake = SimpleNamespace(
        NVMLError=NVMLError,
        NVML_CLOCK_SM=1,
        NVML_CLOCK_MEM=2,
        NVML_TEMPERATURE_GPU=0,
        nvmlInit=opened(1),
        nvmlShutdown=opened(-1),
        nvmlDeviceGetHandleByUUID=handle,
        nvmlDeviceGetCurrentClocksThrottleReasons=lambda _: facts.mask if facts.launched else 0x1,
        nvmlDeviceGetClockInfo=lambda _, kind: {1: 1980, 2: 2619}[kind],
        nvmlDeviceGetTemperature=lambda _, kind: 61,
        nvmlDeviceGetPowerUsage=lambda _: 698_500,
        nvmlDeviceGetEnforcedPowerLimit=lambda _: 700_000,
        nvmlSystemGetDriverVersion=lambda: "570.1",
        nvmlDeviceGetTotalEnergyConsumption=lambda _: facts.energy,
    )
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(uuid="1-2-3"))
    monkeypatch.setattr(torch.cuda, "synchronize", lambda _: None)
    return facts


def test_the_state_of_a_card_is_what_nvml_says_of_the_card_that_torch_means(card: SimpleNamespace) -> None:
    assert state(CUDA, card.busy) == {
        "core_mhz": 1980,
        "memory_mhz": 2619,
        "temperature": 61,
        "power": 698.5,
        "power_limit": 700.0,
        "driver": "570.1",
        "reasons": ["power cap", "hardware thermal slowdown"],
        "throttled": True,
    }
    assert card.uuid == "GPU-1-2-3" and card.opened == 0 and card.launched == 5


def test_a_power_cap_is_no_throttling(card: SimpleNamespace) -> None:
    card.mask = 0x4
    assert state(CUDA, card.busy)["throttled"] is False


def test_energy_is_the_counters_difference_by_forwards(card: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "time", SimpleNamespace(perf_counter=lambda: (card.energy - 5_000_000) / 100_000))
    found = joules(lambda: setattr(card, "energy", card.energy + 30_000), CUDA)  # 0.3 s each on this clock
    assert found == {"joules_per_forward": 30.0, "forwards": 7}


@pytest.mark.parametrize("library", [True, False])
def test_without_nvml_there_is_a_reason_and_no_number(
    card: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, library: bool
) -> None:
    card.fails = True
    if not library:
        monkeypatch.setitem(sys.modules, "pynvml", None)
    reason = "NVML: Driver Not Loaded" if library else "nvidia-ml-py is not installed"
    assert state(CUDA, card.busy) == joules(lambda: None, CUDA) == {"missing": reason}
    assert card.opened == 0


def test_a_processor_has_load_and_clock_and_neither_energy_nor_memory_of_its_own() -> None:
    assert set(state(CPU, print)) == {"load", "core_mhz"} and state(CPU, print)["load"] >= 0
    assert "missing" in joules(lambda: None, CPU) and peak_memory(lambda: None, CPU, 0) is None


def moved_by(forward: Callable[[], object]) -> int:
    with torch.inference_mode():
        return traffic(forward)


def test_bytes_are_those_that_operators_read_and_write() -> None:
    """Of 128 floats: 512 bytes."""
    x, y = torch.ones(8, 16), torch.ones(8, 16)
    rows, two = torch.tensor([1, 5]), torch.ones(2, 16)
    assert moved_by(lambda: x.view(16, 8).transpose(0, 1)[2:]) == 0
    assert moved_by(lambda: x + y) == 3 * 512
    assert moved_by(lambda: x.add_(y)) == 3 * 512
    assert moved_by(lambda: x.copy_(y)) == 2 * 512
    assert moved_by(lambda: torch.empty(8, 16)) == 0
    assert moved_by(lambda: x.zero_()) == 512
    assert moved_by(lambda: x.t().contiguous()) == 2 * 512
    assert moved_by(lambda: x.index_select(0, rows)) == 2 * 128 + 16  # two rows, and their numbers
    assert moved_by(lambda: x.index_copy_(0, rows, two)) == 2 * 128 + 16
    assert moved_by(lambda: torch.nn.functional.linear(x, y)) == 2 * 512 + 8 * 8 * 4


def test_a_processor_is_not_stopped() -> None:
    assert host_stops(lambda: torch.ones(3).nonzero(), CPU) is None


def test_switches_of_training_are_off_while_timing_and_on_again_afterwards() -> None:
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.allow_tf32
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.allow_tf32 = True
    try:
        with pytest.raises(ZeroDivisionError), plain_arithmetic(CUDA) as said:
            assert said == {"deterministic": False, "cudnn_benchmark": True, "tf32": False}
            assert not torch.are_deterministic_algorithms_enabled() and not torch.backends.cudnn.allow_tf32
            raise ZeroDivisionError
        assert torch.are_deterministic_algorithms_enabled() and torch.backends.cudnn.allow_tf32
        assert torch.is_deterministic_algorithms_warn_only_enabled() and not torch.backends.cudnn.benchmark
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]
