"""What a machine has to offer: its cards, its processor, or runners of somebody else."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from agent.fake_nvml import FakeNvml
from agent.script_runner import ScriptRunner
from agent.served import served
from agent.test_runner_process import PROGRAM
from millpond.hardware.nvml import read_gpus
from millpond_agent import loads as loads_module
from millpond_agent import runner_process
from millpond_agent import stations as stations_module
from millpond_agent.errors import RunnerUnusable
from millpond_agent.loads import loads
from millpond_agent.rules import Running, State
from millpond_agent.settings import AgentSettings
from millpond_agent.stations import stations

CARD = {"id": "GPU-7", "name": "NVIDIA T4", "memory_total": 16 * 2**30, "memory_free": None, "utilization_compute": 5}


def settings(directory: Path, **changes: Any) -> AgentSettings:
    return AgentSettings(directory=directory, **changes)


def state(**running: str) -> State:
    return State("0x", {}, {lease: Running("job", 1, hardware_id) for lease, hardware_id in running.items()})


@pytest.fixture
def two_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (stations_module, loads_module):
        monkeypatch.setattr(module, "read_gpus", lambda: read_gpus(FakeNvml()))


def own_runner(monkeypatch: pytest.MonkeyPatch, encoder: str) -> None:
    command = (sys.executable, str(PROGRAM), encoder)
    monkeypatch.setattr(runner_process.RunnerProcess.__init__, "__kwdefaults__", {"command": command})


async def test_each_card_has_a_runner_and_what_it_does_not_tell_is_unknown(
    tmp_path: Path, two_cards: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_runner(monkeypatch, "h264_nvenc")
    async with stations(settings(tmp_path, slots=3), print) as found:
        first, second = (station.gpu for station in found)
        assert (first.hardware_id, first.kind, first.model, first.slots) == ("GPU-0", "nvidia", "NVIDIA L4", 3)
        assert (first.memory_bytes, first.driver) == (24 * 2**30, "560.35")
        assert (second.hardware_id, second.model, second.memory_bytes) == ("GPU-1", "unknown NVIDIA GPU", None)
        busy, silent = await loads(found, state(lease="GPU-0"))
        assert (busy.running, busy.utilization_percent, busy.temperature_celsius) == (1, 37, 61)
        assert (silent.running, silent.utilization_percent, silent.memory_free_bytes) == (0, None, None)


async def test_a_card_that_can_t_encode_is_not_offered_and_the_processor_is_called_so(
    tmp_path: Path, two_cards: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_runner(monkeypatch, "libx264")
    told: list[str] = []
    async with stations(settings(tmp_path), told.append) as found:
        (station,) = found
        assert (station.gpu.hardware_id, station.gpu.kind) == ("software", "software")
    assert "left out" in told[0]


async def test_without_cards_the_processor_works_with_half_of_its_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_runner(monkeypatch, "libx264")
    monkeypatch.setattr(stations_module, "read_gpus", lambda: ())
    monkeypatch.setattr("os.cpu_count", lambda: 6)
    async with stations(settings(tmp_path), print) as found:
        (station,) = found
        assert (station.gpu.slots, station.gpu.memory_bytes) == (3, None)
        (load,) = await loads(found, state())
        assert (load.running, load.utilization_percent, load.temperature_celsius) == (0, None, None)


async def test_a_runner_that_is_pointed_at_says_itself_what_it_has(tmp_path: Path) -> None:
    runner = ScriptRunner(encoder="h264_nvenc", slots=4)
    runner.cards = {"0": CARD}
    async with served(runner.app) as url, stations(settings(tmp_path, runners=url, slots=8), print) as found:
        (station,) = found
        assert (station.gpu.hardware_id, station.gpu.model, station.gpu.slots) == ("GPU-7", "NVIDIA T4", 4)
        (load,) = await loads(found, state())
        assert (load.utilization_percent, load.memory_free_bytes) == (5, None)


async def test_two_runners_without_cards_are_two_devices(tmp_path: Path) -> None:
    async with (
        served(ScriptRunner().app) as one,
        served(ScriptRunner().app) as other,
        stations(settings(tmp_path, runners=f"{one}, {other}"), print) as found,
    ):
        assert [station.gpu.hardware_id for station in found] == ["software", "software-2"]


async def test_a_runner_with_several_cards_is_refused_with_the_remedy(tmp_path: Path) -> None:
    runner = ScriptRunner(encoder="h264_nvenc")
    runner.cards = {"0": CARD, "1": {**CARD, "id": "GPU-8"}}
    async with served(runner.app) as url:
        with pytest.raises(RunnerUnusable, match="MILLPOND_RUNNER_GPU"):
            async with stations(settings(tmp_path, runners=url), print):
                pass


async def test_two_runners_of_one_card_would_sell_it_twice(tmp_path: Path) -> None:
    runner = ScriptRunner(encoder="h264_nvenc")
    runner.cards = {"0": CARD}
    async with served(runner.app) as one, served(runner.app) as other:
        with pytest.raises(RunnerUnusable, match="one runner"):
            async with stations(settings(tmp_path, runners=f"{one},{other}"), print):
                pass


async def test_a_runner_that_does_not_answer_is_said_before_anything_begins(tmp_path: Path) -> None:
    with pytest.raises(RunnerUnusable, match="http"):
        async with stations(settings(tmp_path, runners="http://127.0.0.1:9"), print):
            pass
