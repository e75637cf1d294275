"""The machine's memory: no number twice, nothing lost, whatever is killed."""

from __future__ import annotations

import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent.samples import assigned, held, recorded
from millpond.events.agent_claims import Heartbeat, JobFailed, JobStarted, JobSucceeded
from millpond.events.device_claims import JobSucceededClaim, Output
from millpond.identity import DeviceKey, verify_device
from millpond_agent.errors import AlreadyRunning, DirectoryUnusable, SessionUnreadable, SessionUnwritable
from millpond_agent.session import BLOCK, FILE, Session

KEY = DeviceKey(b"\x01" * 32)
POOL = "test-pool"
JOB = assigned(device=KEY.device)
NAMES = {"job": JOB.job, "attempt": JOB.attempt, "lease": JOB.lease}
SINCE_EVER = datetime.fromtimestamp(0, tz=UTC)

# Signs and records as fast as it can, and says each number before its claim could be sent.
SCRIBE = """
import sys
from pathlib import Path
from agent.test_session import KEY, NAMES, POOL
from millpond.events.agent_claims import Heartbeat, JobStarted
from millpond_agent.session import Session
with Session(Path(sys.argv[1]), KEY, POOL) as session:
    while True:
        print(session.sign(Heartbeat).sequence, flush=True)
        session.record(JobStarted, **NAMES)
        print("recorded", session.unacknowledged()[-1].sequence, flush=True)
"""


def opened(directory: Path) -> Session:
    return Session(directory, KEY, POOL)


def succeed(session: Session) -> str:
    """The hash of the recorded success."""
    output = Output(rendition="240p", blob=JOB.spec.source, frames=10, pixels=1_000)
    session.record_end(JobSucceeded, outcome="succeeded", pixels=1_000, outputs=(output,), **NAMES)
    claim = session.unacknowledged()[-1]
    return JobSucceeded(device=KEY.device, payload=claim.payload, signature=claim.signature).payload_hash


def test_a_claim_carries_session_and_number_under_the_device_s_signature(tmp_path: Path) -> None:
    with opened(tmp_path) as session:
        first, second = session.sign(Heartbeat, leaving=True), session.sign(Heartbeat)
        assert (first.sequence, second.sequence) == (1, 2)
        assert verify_device(
            pool=POOL, kind="Heartbeat", text=first.payload, device=KEY.device, signature=first.signature
        )
        claim = Heartbeat(device=KEY.device, payload=first.payload, signature=first.signature).claim
        assert (claim.session, claim.sequence, claim.leaving) == (session.id, 1, True)


def test_what_was_not_acknowledged_is_there_after_a_restart_with_the_same_bytes(tmp_path: Path) -> None:
    with opened(tmp_path) as session:
        session.record(JobStarted, **NAMES)
        succeed(session)
        before, id_ = session.unacknowledged(), session.id
    with opened(tmp_path) as session:
        assert session.unacknowledged() == before
        assert session.id == id_
        session.acknowledge(before[0].sequence)
        session.acknowledge(before[0].sequence)
        assert session.unacknowledged() == before[1:]
        assert not session.is_acknowledged
        session.acknowledge(before[1].sequence)
        assert session.is_acknowledged
    with opened(tmp_path) as session:
        assert session.is_acknowledged


def test_a_number_is_never_given_out_again_after_a_kill(tmp_path: Path) -> None:
    numbers: list[int] = []
    recorded_numbers: set[int] = set()
    for lines in (7, 40, 3):
        process = subprocess.Popen(
            [sys.executable, "-c", SCRIBE, str(tmp_path)],
            stdout=subprocess.PIPE,
            text=True,
            env={"PYTHONPATH": str(Path(__file__).parents[1])},
        )
        assert process.stdout is not None
        said = [process.stdout.readline().split() for _ in range(lines)]
        process.send_signal(signal.SIGKILL)
        said += [line.split() for line in process.stdout.read().splitlines()]
        process.wait()
        numbers += [int(words[0]) for words in said if len(words) == 1]
        recorded_numbers |= {int(words[1]) for words in said if len(words) == 2}
    with opened(tmp_path) as session:
        assert session.sign(Heartbeat).sequence > max(numbers)
        behind, kept = 0, set()
        while claims := session.unacknowledged(behind):
            kept |= {claim.sequence for claim in claims}
            behind = claims[-1].sequence
    assert len(set(numbers)) == len(numbers)
    assert recorded_numbers <= kept
    assert not kept & set(numbers)


def test_numbers_go_on_behind_a_block(tmp_path: Path) -> None:
    with opened(tmp_path) as session:
        sequences = [session.sign(Heartbeat).sequence for _ in range(BLOCK + 2)]
    assert sequences == list(range(1, BLOCK + 3))


def test_an_attempt_ends_once_and_is_remembered(tmp_path: Path) -> None:
    with opened(tmp_path) as session:
        assert not session.has_ended(JOB.lease)
        session.record_end(JobFailed, outcome="failed", reason="crashed", sentence="It crashed.", **NAMES)
    with opened(tmp_path) as session:
        assert session.has_ended(JOB.lease)
        figures = session.figures(SINCE_EVER)
        assert (figures.done, figures.failed, figures.pixels) == (0, 1, 0)
        assert session.figures(datetime.now(UTC).replace(year=2200)).failed == 0


def test_a_success_is_kept_until_its_receipt_has_come(tmp_path: Path) -> None:
    with opened(tmp_path) as session:
        result = succeed(session)
        session.acknowledge(1)
        claim = session.claim_of(result)
        assert claim is not None
        assert JobSucceededClaim.model_validate_json(claim.payload).lease == JOB.lease
        session.record_receipt(recorded(JOB, result=result))
        assert session.claim_of(result) is None


def test_what_was_earned_is_exact_and_a_repeated_receipt_counts_once(tmp_path: Path) -> None:
    with opened(tmp_path) as session:
        for name in ("a", "b", "c"):
            # A third of a wei each, as it were: together they are one.
            line = recorded(assigned(name), result="0x" + "00" * 32, quantity=1, wei=10**30 + 1, per_units=3)
            session.record_receipt(line)
            session.record_receipt(line)
        session.record_receipt(held(assigned("d"), result="0x" + "00" * 32, quantity=6, wei=5, per_units=3))
        figures = session.figures(SINCE_EVER)
    assert (figures.receipts, figures.earned_wei, figures.held_wei) == (4, 10**30 + 1, 10)


def test_two_agents_do_not_share_a_memory(tmp_path: Path) -> None:
    with opened(tmp_path), pytest.raises(AlreadyRunning, match="MILLPOND_AGENT_DIRECTORY"):
        opened(tmp_path)
    opened(tmp_path).__exit__(None, None, None)


def test_a_memory_that_can_t_be_read_is_not_replaced_in_silence(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"not a database" * 100)
    with pytest.raises(SessionUnreadable, match="move it away"):
        opened(tmp_path)
    assert (tmp_path / FILE).read_bytes().startswith(b"not a database")


def test_a_directory_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DirectoryUnusable, match="file"):
        opened(tmp_path / "file")


def test_a_full_disk_is_said_and_leaves_nothing_half_written(tmp_path: Path) -> None:
    with opened(tmp_path) as session:
        session.sign(Heartbeat)
        session._database.execute("PRAGMA query_only = 1")  # stands in for the disk
        with pytest.raises(SessionUnwritable, match="Free some space"):
            session.record(JobStarted, **NAMES)
        session._database.execute("PRAGMA query_only = 0")
        session.record(JobStarted, **NAMES)
        assert [claim.sequence for claim in session.unacknowledged()] == [3]
