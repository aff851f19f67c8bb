"""What surrounds a timing, with a card that exists only here."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from bench import device
from bench.device import joules, peak_memory, state, watch

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)


class NVMLError(Exception):
    """As pynvml's."""


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """NVML of a card that spends 30 J a forward and is slowed by power and by heat."""
    facts = SimpleNamespace(energy=5_000_000, mask=0x4 | 0x40, opened=0, uuid="", fails=False)

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
        nvmlDeviceGetCurrentClocksThrottleReasons=lambda _: facts.mask,
        nvmlDeviceGetClockInfo=lambda _, kind: {1: 1980, 2: 2619}[kind],
        nvmlDeviceGetTemperature=lambda _, kind: 61,
        nvmlDeviceGetPowerUsage=lambda _: 698_500,
        nvmlDeviceGetTotalEnergyConsumption=lambda _: facts.energy,
    )
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(uuid="1-2-3"))
    monkeypatch.setattr(torch.cuda, "synchronize", lambda _: None)
    return facts


def test_the_state_of_a_card_is_what_nvml_says_of_the_card_that_torch_means(card: SimpleNamespace) -> None:
    assert state(CUDA) == {
        "core_mhz": 1980,
        "memory_mhz": 2619,
        "temperature": 61,
        "power": 698.5,
        "reasons": ["power cap", "hardware thermal slowdown"],
        "throttled": True,
    }
    assert card.uuid == "GPU-1-2-3" and card.opened == 0


def test_a_power_cap_is_no_throttling(card: SimpleNamespace) -> None:
    card.mask = 0x4
    assert state(CUDA)["throttled"] is False


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
    assert state(CUDA) == joules(lambda: None, CUDA) == {"missing": reason}
    assert card.opened == 0


def test_a_processor_has_load_and_clock_and_neither_energy_nor_memory_of_its_own() -> None:
    assert set(state(CPU)) == {"load", "core_mhz"} and state(CPU)["load"] >= 0
    assert "missing" in joules(lambda: None, CPU) and peak_memory(lambda: None, CPU) is None


def test_stops_and_bytes_are_counted() -> None:
    x = torch.ones(8, 16)

    def forward() -> None:
        y = x.view(16, 8) + 1.0  # a view moves nothing; the sum reads 512 bytes and writes as many
        if y.sum() > 0:  # reads 512, writes 4; the comparison reads 4, writes 1; the host waits for it
            y.nonzero()  # and for this

    with torch.no_grad():
        counts = watch(forward)
    assert counts.stops == 2
    assert counts.bytes == 2 * 512 + 512 + 4 + 4 + 1 + 1 + 512 + 128 * 2 * 8
