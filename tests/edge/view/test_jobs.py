"""What became of a job, as its gateway is told; and nobody else is."""

from __future__ import annotations

from datetime import UTC, datetime

from millpond.events.device_claims import Output
from millpond.events.event import Event
from millpond.events.gateway_jobs import JobRequested
from millpond.events.ids import gpu_id, job_id, lease_id
from millpond.events.scheduler_assignments import (
    AgreedPrice,
    AttemptClosed,
    JobAccepted,
    JobAssigned,
    JobFinished,
    JobGivenUp,
    JobRefused,
)
from millpond.stream.decision import Received
from millpond.stream.record import Place
from millpond.workloads.blob import Blob
from millpond.workloads.transcode import Rendition, TranscodeSpec
from millpond_edge.view.jobs import Job, Jobs

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
HASH = "0x" + "ab" * 32
SPEC = TranscodeSpec(
    source=Blob(hash=HASH, size_bytes=7), renditions=(Rendition(name="360p", width=640, height=360, bitrate_kbps=800),)
)
JOB = job_id("acme", "a")
ALICE, DEVICE, OTHER_DEVICE = "0x" + "aa" * 20, "0x" + "d0" * 32, "0x" + "d1" * 32


def requested(deadline_s: int = 60) -> JobRequested:
    return JobRequested(job=JOB, gateway="acme", request_id="a", workload="transcode", spec=SPEC, deadline_s=deadline_s)


def accepted(gateway: str = "acme", request_id: str = "a") -> JobAccepted:
    return JobAccepted(
        job=job_id(gateway, request_id),
        gateway=gateway,
        request_id=request_id,
        workload="transcode",
        spec=SPEC,
        price=AgreedPrice(unit="pixel", wei=1, per_units=1_000),
        terms_hash=HASH,
        deadline_at=NOON,
        as_of=NOON,
    )


def assigned(attempt: int = 1, device: str = DEVICE, job: str = JOB) -> JobAssigned:
    return JobAssigned(
        job=job,
        attempt=attempt,
        lease=lease_id(job, attempt),
        lease_until=NOON,
        gpu=gpu_id(device, "software"),
        hardware_id="software",
        device=device,
        contributor=ALICE,
        delegation=HASH,
        workload="transcode",
        spec=SPEC,
        deadline_at=NOON,
        candidates=(),
        as_of=NOON,
    )


def closed(attempt: int = 1, *, lost: str | None = None) -> AttemptClosed:
    return AttemptClosed(
        job=JOB,
        attempt=attempt,
        lease=lease_id(JOB, attempt),
        gpu=gpu_id(DEVICE, "software"),
        device=DEVICE,
        contributor=ALICE,
        outcome="lost" if lost else "kept",
        reason=lost or "done",
        sentence="It fell silent." if lost else "It is done.",
        as_of=NOON,
    )


FINISHED = JobFinished(
    job=JOB,
    gateway="acme",
    attempt=1,
    outputs=(Output(rendition="360p", blob=Blob(hash=HASH, size_bytes=9), frames=25, pixels=25 * 640 * 360),),
    as_of=NOON,
)
WHY = {"reason": "past-deadline", "sentence": "Nobody was free.", "as_of": NOON}
GIVEN_UP = JobGivenUp(job=JOB, gateway="acme", attempts=2, **WHY)
REFUSED = JobRefused(job=JOB, gateway="acme", request_id="a", **WHY)


def heard(*events: Event) -> Jobs:
    jobs = Jobs()
    for offset, event in enumerate(events):
        jobs.apply(Received("t", Place("t", 0), offset, "k", event, 0, b""))
    return jobs


def stood(*events: Event) -> Job:
    found = heard(*events).job(JOB, "acme")
    assert found is not None
    return found


def test_a_job_goes_from_requested_to_finished() -> None:
    story = [requested(), accepted(), assigned(), closed(), FINISHED]
    states = [stood(*story[:n]).state for n in range(1, 6)]
    assert states == ["requested", "accepted", "assigned", "assigned", "finished"]
    assert [output.rendition for output in stood(*story).outputs] == ["360p"]


def test_a_lost_attempt_says_why_until_another_one_is_done() -> None:
    story = [accepted(), assigned(1), closed(1, lost="silent")]
    lost = stood(*story)
    assert (lost.state, lost.attempts, lost.reason, lost.sentence) == ("accepted", 1, "silent", "It fell silent.")
    again = stood(*story, assigned(2), FINISHED)
    assert (again.state, again.attempts, again.reason) == ("finished", 2, None)


def test_what_comes_to_nothing_says_why() -> None:
    for story, state in (([REFUSED], "refused"), ([accepted(), assigned(), GIVEN_UP], "given_up")):
        assert (stood(*story).state, stood(*story).sentence) == (state, "Nobody was free.")


def test_a_strangers_job_is_as_one_that_does_not_exist() -> None:
    jobs = heard(requested(), accepted())
    assert jobs.job(JOB, "other") is None
    assert list(jobs.changes("other")) == []


def test_of_two_requests_the_first_on_the_log_counts_whatever_was_noted_here() -> None:
    jobs = Jobs()
    jobs.note(requested(deadline_s=5))
    noted = jobs.request(JOB)
    assert noted is not None
    assert noted.deadline_s == 5
    for deadline_s in (60, 5):
        jobs.apply(Received("t", Place("t", 0), 0, "k", requested(deadline_s), 0, b""))
    jobs.note(requested(deadline_s=7))
    first = jobs.request(JOB)
    assert first is not None
    assert first.deadline_s == 60


def test_each_change_is_kept_with_its_place_and_the_job_as_it_then_stood() -> None:
    changes = heard(requested(), accepted(), assigned(), FINISHED).changes("acme")
    assert [(change.offset, change.type_name, change.job.state) for change in changes] == [
        (1, "JobAccepted", "accepted"),
        (2, "JobAssigned", "assigned"),
        (3, "JobFinished", "finished"),
    ]


def test_an_attempt_is_the_devices_until_it_is_closed_or_the_job_ends() -> None:
    begun = [accepted(), assigned()]
    assert [each.attempt for each in heard(*begun).open_assignments(DEVICE)] == [1]
    assert heard(*begun).open_assignments(OTHER_DEVICE) == ()
    for end in (closed(), closed(lost="silent"), FINISHED, GIVEN_UP):
        assert heard(*begun, end).open_assignments(DEVICE) == ()
    moved = heard(*begun, closed(1, lost="silent"), assigned(2, OTHER_DEVICE), closed(1, lost="silent"))
    assert [each.device for each in moved.open_assignments(OTHER_DEVICE)] == [OTHER_DEVICE]
