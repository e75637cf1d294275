"""The real agent, as a process, before an edge that drops, repeats, refuses and forgets."""

from __future__ import annotations

import json
import signal
from typing import Any

from agent.conftest import Machine
from agent.samples import assigned, recorded
from millpond.events.agent_claims import JobSucceeded
from millpond.events.scheduler_assignments import JobAssigned


def job(machine: Machine, name: str = "a", word: str = "segment", **changes: Any) -> JobAssigned:
    content = machine.edge.put(f"{word} {name}".encode())
    return assigned(name, content=content, device=machine.key.device, now=machine.edge.now(), **changes)


def results(machine: Machine) -> list[tuple[str, bool]]:
    return [(heard.type, heard.repeat) for heard in machine.edge.of_type("JobStarted", "JobSucceeded", "JobFailed")]


async def beat(machine: Machine) -> None:
    """Waits until it has been heard."""
    count = len(machine.edge.of_type("Heartbeat"))
    await machine.edge.until(lambda: len(machine.edge.of_type("Heartbeat")) > count)


async def test_a_job_is_started_reported_and_finished_once_though_it_is_assigned_twice(machine: Machine) -> None:
    await machine.start()
    await beat(machine)
    inventory = machine.edge.heard[0].claim.inventory
    assert [(gpu.hardware_id, gpu.kind, gpu.slots) for gpu in inventory] == [("software", "software", 2)]
    wanted = job(machine, word="while 0.5")
    await machine.edge.assign(wanted)
    await machine.edge.assign(wanted)
    await machine.edge.until(lambda: machine.edge.of_type("JobProgress"))
    await machine.edge.assign(wanted)
    (done,) = await machine.edge.until(lambda: machine.edge.of_type("JobSucceeded"))
    assert (done.claim.job, done.claim.attempt, done.claim.lease) == (wanted.job, wanted.attempt, wanted.lease)
    assert {output.blob.hash for output in done.claim.outputs} <= machine.edge.blobs.keys()
    await machine.edge.assign(wanted)
    await beat(machine)
    await beat(machine)
    assert results(machine) == [("JobStarted", False), ("JobSucceeded", False)]
    assert machine.runner.started == [wanted.lease]
    assert machine.edge.of_type("Heartbeat")[-1].claim.inventory is None
    # Two renditions, and the runner had told of ten frames of the source.
    assert machine.edge.of_type("JobProgress")[-1].claim.frames == 20


async def test_a_result_that_was_not_acknowledged_comes_again_with_the_same_bytes_after_a_kill(
    machine: Machine,
) -> None:
    await machine.start()
    await beat(machine)
    machine.edge.is_silent = True
    wanted = job(machine)
    await machine.edge.assign(wanted)
    await machine.edge.until(lambda: machine.edge.of_type("JobSucceeded"))
    await machine.kill()
    machine.edge.is_silent = False
    await machine.start()
    # The fake edge notes a fault if other bytes come under a number that it has seen.
    await machine.edge.until(lambda: ("JobSucceeded", True) in results(machine))
    await beat(machine)
    assert [heard for heard in results(machine) if not heard[1]] == [("JobStarted", False), ("JobSucceeded", False)]
    assert len(set(machine.edge.greetings)) == 1
    assert machine.runner.started == [wanted.lease]


async def test_a_job_that_was_cut_off_by_a_kill_is_begun_again_when_the_lease_still_holds(machine: Machine) -> None:
    await machine.start()
    await beat(machine)
    wanted = job(machine, word="while 1")
    await machine.edge.assign(wanted)
    # It is said to have started before the runner has its input.
    await machine.edge.until(lambda: machine.edge.of_type("JobStarted") and machine.runner.started)
    await machine.kill()
    await machine.start()
    await machine.edge.until(lambda: machine.edge.of_type("JobSucceeded"))
    assert machine.runner.started == [wanted.lease] * 2


async def test_nothing_is_lost_or_doubled_when_the_connection_breaks_at_each_word(machine: Machine) -> None:
    machine.edge.hang_up_on = {"Heartbeat": 1, "JobStarted": 1, "JobSucceeded": 1}
    await machine.start()
    await machine.edge.until(lambda: len(machine.edge.greetings) > 1)
    await beat(machine)
    await machine.edge.assign(job(machine, word="while 0.3"))
    await machine.edge.until(lambda: machine.edge.of_type("JobSucceeded"))
    await machine.edge.until(lambda: not any(machine.edge.hang_up_on.values()))
    await beat(machine)
    firsts = [heard for heard in results(machine) if not heard[1]]
    assert firsts == [("JobStarted", False), ("JobSucceeded", False)]
    assert len(machine.runner.started) == 1


async def test_a_cancelled_job_ends_without_a_word_and_its_slot_is_free(machine: Machine) -> None:
    await machine.start()
    await beat(machine)
    first, second = job(machine, "a", "slow"), job(machine, "b", "slow")
    for wanted in (first, second):
        await machine.edge.assign(wanted)
    await machine.edge.until(lambda: len(machine.edge.of_type("JobStarted")) == 2)
    await machine.edge.cancel(first)
    await machine.edge.until(lambda: first.lease in machine.runner.deleted)
    await machine.edge.assign(job(machine, "c"))
    await machine.edge.until(lambda: machine.edge.of_type("JobSucceeded"))
    assert not machine.edge.of_type("JobFailed")
    assert second.lease not in machine.runner.deleted


async def test_a_job_that_is_cancelled_in_the_same_breath_holds_no_slot(machine: Machine) -> None:
    await machine.start(slots="1")
    await beat(machine)
    for name in ("a", "b", "c"):
        wanted = job(machine, name, "slow")
        await machine.edge.assign(wanted)
        await machine.edge.cancel(wanted)
    await beat(machine)
    await machine.edge.assign(job(machine, "d"))
    await machine.edge.until(lambda: machine.edge.of_type("JobSucceeded"))


async def test_a_job_without_a_free_slot_is_declined_at_once(machine: Machine) -> None:
    await machine.start(slots="1")
    await beat(machine)
    await machine.edge.assign(job(machine, "a", "slow"))
    await machine.edge.assign(job(machine, "b"))
    (failed,) = await machine.edge.until(lambda: machine.edge.of_type("JobFailed"))
    assert failed.claim.reason == "no-slot"


async def test_a_failed_job_says_why_and_the_next_one_runs(machine: Machine) -> None:
    await machine.start()
    await beat(machine)
    await machine.edge.assign(job(machine, "a", "bad-input"))
    (failed,) = await machine.edge.until(lambda: machine.edge.of_type("JobFailed"))
    assert (failed.claim.reason, failed.claim.sentence) == ("bad-input", "There is no video in it.")
    await machine.edge.assign(job(machine, "b"))
    await machine.edge.until(lambda: machine.edge.of_type("JobSucceeded"))


async def test_a_claim_that_edge_will_never_take_is_told_and_not_sent_for_ever(machine: Machine) -> None:
    machine.edge.refuse = {"JobStarted": "lease-foreign"}
    await machine.start()
    await beat(machine)
    await machine.edge.assign(job(machine))
    await machine.edge.until(lambda: machine.edge.of_type("JobSucceeded"))
    await machine.edge.hang_up()
    await machine.edge.until(lambda: len(machine.edge.greetings) == 2)
    await beat(machine)
    assert ("JobStarted", True) not in results(machine)
    assert "lease-foreign" in machine.said


async def test_a_claim_that_edge_takes_later_is_sent_again(machine: Machine) -> None:
    machine.edge.refuse = {"JobSucceeded": "not-acknowledged"}
    await machine.start()
    await beat(machine)
    await machine.edge.assign(job(machine))
    await machine.edge.until(lambda: machine.edge.of_type("JobSucceeded"))
    machine.edge.refuse = {}
    await machine.edge.hang_up()
    await machine.edge.until(lambda: ("JobSucceeded", True) in results(machine))


async def test_sigterm_finishes_what_runs_declines_what_comes_and_says_goodbye(machine: Machine) -> None:
    await machine.start()
    await beat(machine)
    wanted = job(machine, "a", "while 0.8")
    await machine.edge.assign(wanted)
    await machine.edge.until(lambda: machine.edge.of_type("JobStarted"))
    machine.signal(signal.SIGTERM)
    await machine.edge.until(lambda: "Leaving" in machine.said)
    await machine.edge.assign(job(machine, "b"))
    assert await machine.ended() == 0
    assert [heard[0] for heard in results(machine)] == ["JobStarted", "JobFailed", "JobSucceeded"]
    assert machine.edge.of_type("JobFailed")[0].claim.reason == "leaving"
    assert machine.edge.heard[-1].claim.leaving


async def test_sigterm_fails_what_takes_longer_than_the_limit(machine: Machine) -> None:
    await machine.start(stop_s="0.3")
    await beat(machine)
    await machine.edge.assign(job(machine, word="slow"))
    await machine.edge.until(lambda: machine.edge.of_type("JobStarted"))
    machine.signal(signal.SIGTERM)
    assert await machine.ended() == 0
    assert machine.edge.of_type("JobFailed")[0].claim.reason == "stopped"
    assert machine.edge.heard[-1].claim.leaving


async def test_a_second_signal_ends_at_once_and_still_says_goodbye(machine: Machine) -> None:
    await machine.start()
    await beat(machine)
    await machine.edge.assign(job(machine, word="slow"))
    await machine.edge.until(lambda: machine.edge.of_type("JobStarted"))
    machine.signal(signal.SIGINT)
    await machine.edge.until(lambda: "Leaving" in machine.said)
    machine.signal(signal.SIGINT)
    assert await machine.ended() == 0
    assert machine.edge.of_type("JobFailed")[0].claim.reason == "stopped"
    assert machine.edge.heard[-1].claim.leaving


async def test_a_machine_that_is_not_registered_ends_with_a_sentence(machine: Machine) -> None:
    machine.edge.turn_away = ("device-unknown", "The device has no delegation.")
    await machine.start()
    assert await machine.ended() == 1
    assert "The device has no delegation." in machine.said
    assert machine.key.device in machine.said


async def test_a_machine_that_waits_for_approval_waits_and_then_works(machine: Machine) -> None:
    machine.edge.turn_away = ("device-waiting", "The operator has not approved it yet.")
    await machine.start()
    await machine.edge.until(lambda: len(machine.edge.greetings) >= 2)
    machine.edge.turn_away = None
    await beat(machine)
    assert "has not approved" in machine.said


async def test_a_receipt_lies_beside_the_claim_that_it_is_about(machine: Machine) -> None:
    await machine.start()
    await beat(machine)
    wanted = job(machine)
    await machine.edge.assign(wanted)
    (done,) = await machine.edge.until(lambda: machine.edge.of_type("JobSucceeded"))
    claim = JobSucceeded(device=machine.key.device, payload=done.payload, signature="0x" + "00" * 64)
    line = recorded(wanted, result=claim.payload_hash)
    await machine.edge.receipt(line)
    path = machine.directory / "receipts" / f"{line.line}.json"
    await machine.edge.until(path.exists)
    document = json.loads(path.read_text())
    assert document["event"] == json.loads(line.to_bytes())
    assert (document["pool"], document["type"]) == (machine.edge.pool, "UsageRecorded")
    assert document["claim"]["payload"] == done.payload
    assert document["claim"]["device"] == machine.key.device
