"""How many agents one core of edge holds, each with a heartbeat every 5 s, and how soon these are acknowledged.

``AGENTS`` are really connected, over loopback, from a process of their own; edge has one core, Kafka and the agents the
others. The value is how many agents the core would hold at this work for each (2,000 ÷ the share of the core that was used),
none if a heartbeat was lost or late. The baseline is a plain server under the same load (``edge_plain``).
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import asyncpg

from benchmarks.bench_stack import GIVE_UP_S, LOGS, made_anew, program
from benchmarks.edge_load import key_of
from benchmarks.figure import Benchmark, Run
from edge.pool import RECEIPT_KEY, PoolLog
from millpond.events.topics import AGENT_HEARTBEATS, AGENT_PROGRESS, AGENT_RESULTS, REGISTRY_MEMBERS
from millpond.localstack import LocalStack
from millpond.stream.kafka.publisher import KafkaPublisher
from millpond.stream.log import Outbound
from millpond.stream.record import Place
from millpond_edge.view.view import TOPICS as FOLLOWED
from stream.workers import free_port

AGENTS = 2_000
MEASURED_S = 25.0
BATCH_RECORDS_MAX = 500
# The server's; the agents keep off it, as far as there is another.
CORE = max(os.sched_getaffinity(0))


@dataclass(frozen=True)
class Served:
    """``core``: the share of one core that the server took while the agents beat."""

    p99_ms: float
    core: float
    is_whole: bool

    @property
    def agents(self) -> float:
        return AGENTS / self.core if self.is_whole else 0.0


def run_agents(stack: LocalStack) -> Run:
    edge, plain = asyncio.run(_both(stack))
    return Run(edge.agents, plain.agents)


def run_acknowledgement(stack: LocalStack) -> Run:
    edge, plain = asyncio.run(_both(stack))
    return Run(edge.p99_ms, plain.p99_ms)


async def _both(stack: LocalStack) -> tuple[Served, Served]:
    topics = (*FOLLOWED, AGENT_HEARTBEATS, AGENT_PROGRESS, AGENT_RESULTS)
    await made_anew(stack, topics)
    await _register(stack.kafka.bootstrap_servers)
    name = f"edge_{uuid.uuid4().hex[:8]}"
    connection = await asyncpg.connect(stack.postgres.dsn())
    await connection.execute(f"CREATE DATABASE {name}")
    await connection.close()
    edge_settings = {
        "MILLPOND_EDGE_RECEIPT_KEY": RECEIPT_KEY,
        "MILLPOND_BLOBS_URL": str(LOGS / "blobs"),
        "MILLPOND_EDGE_PORT": str(free_port()),
        "MILLPOND_HEALTH_PORT": str(free_port()),
    }
    edge = _serve(stack, "millpond_edge", name, edge_settings["MILLPOND_EDGE_PORT"], edge_settings)
    plain_settings = {"PLAIN_PORT": str(free_port()), "PLAIN_TOPIC": AGENT_HEARTBEATS.name}
    plain = _serve(stack, "benchmarks.edge_plain", name, plain_settings["PLAIN_PORT"], plain_settings)
    return edge, plain


async def _register(servers: str) -> None:
    log = PoolLog()
    for n in range(AGENTS):
        log.register(key_of(n).device)
    publisher = await KafkaPublisher.open({"bootstrap_servers": servers})
    for partition in range(REGISTRY_MEMBERS.partitions):
        place = Place(REGISTRY_MEMBERS.name, partition)
        records = [Outbound(r.key, r.value, r.headers, r.timestamp_ms) for r in log.slice(place, 0, 10 * AGENTS)]
        if records:
            await (await publisher.send(place, records))
    await publisher.close()


def _serve(stack: LocalStack, module: str, name: str, port: str, settings: dict[str, str]) -> Served:
    with program(module, name, stack.postgres.dsn(name), stack, BATCH_RECORDS_MAX, **settings) as running:
        os.sched_setaffinity(running.pid, {CORE})
        _wait_for(running, settings.get("MILLPOND_HEALTH_PORT"), port)
        command = [sys.executable, "-m", "benchmarks.edge_load", f"ws://127.0.0.1:{port}/agents", str(AGENTS)]
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
        with _load([*command, str(MEASURED_S)], environment) as output:
            assert json.loads(output.readline())["connected"] == AGENTS
            began_s, used_s = time.monotonic(), _processor_s(running.pid)
            said: dict[str, Any] = json.loads(output.readline())
            core = (_processor_s(running.pid) - used_s) / (time.monotonic() - began_s)
    is_whole = said["acknowledged"] == said["sent"] > 0 and said["late"] == 0
    return Served(said["p99_ms"], core, is_whole)


@contextmanager
def _load(command: list[str], environment: dict[str, str]) -> Iterator[IO[str]]:
    """The agents' output; they end with this block."""
    with (LOGS / "edge_load.log").open("wb") as errors:
        running = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True)
    os.sched_setaffinity(running.pid, os.sched_getaffinity(0) - {CORE} or {CORE})
    assert running.stdout is not None
    try:
        yield running.stdout
    finally:
        running.kill()
        running.wait()


def _wait_for(running: subprocess.Popen[bytes], health_port: str | None, port: str) -> None:
    """Until edge knows the pool, or the plain server listens."""
    give_up_s = time.monotonic() + GIVE_UP_S
    while time.monotonic() < give_up_s and running.poll() is None:
        try:
            if health_port is None:
                socket.create_connection(("127.0.0.1", int(port)), 1).close()
            else:
                urllib.request.urlopen(f"http://127.0.0.1:{health_port}/ready", timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError(f"it does not serve, exit code {running.poll()}; see .local/bench-logs")


def _processor_s(pid: int) -> float:
    """Seconds of processor time that the process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


AGENTS_A_CORE = Benchmark("edge.agents", "agents/core", AGENTS, "more", run_agents, runs=1, judged="value")
ACKNOWLEDGEMENT = Benchmark(
    "edge.acknowledgement_p99", "ms", 250.0, "less", run_acknowledgement, runs=1, judged="value"
)
