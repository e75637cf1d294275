"""What was done, counted once, and the same in every order of arrival."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metering.memory_store import Kept, loaded, saved
from metering.samples import (
    CONTRIBUTOR,
    DEVICE,
    FRAMES,
    GPU,
    NOW,
    OTHER_DEVICE,
    PIXELS,
    POOL,
    POOL_KEY,
    RENDITIONS,
    Story,
    Topics,
    blob,
    by_topic,
    claim,
    finished,
    kept,
    lines,
    looks,
    observed,
    only_line,
    output,
    signed,
    story,
    told,
)
from millpond.events.event import Event
from millpond.events.ids import line_id
from millpond.events.inspector_observations import OutputUnavailable, OutputUnreadable
from millpond.events.metering_usage import UNITS_MAX, UsageHeld, UsageRecorded
from millpond.events.scheduler_assignments import JobGivenUp, JobRefused
from millpond.proofs.receipt import is_countersigned
from millpond.stream.decision import Outgoing, Received
from millpond_metering.rules import keys


def unreadable(of: Event, sentence: str = "It ends in the middle.") -> OutputUnreadable:
    facts = {name: getattr(of, name) for name in ("job", "attempt", "result", "rendition", "blob")}
    return OutputUnreadable(**facts, reason="truncated", sentence=sentence, decoder="test")


def unavailable(of: Event) -> OutputUnavailable:
    facts = {name: getattr(of, name) for name in ("job", "attempt", "result", "rendition", "blob")}
    return OutputUnavailable(**facts, reason="missing", sentence="The store doesn't have it.")


def with_result(payload_of: Any, **signing: Any) -> Story:
    """The story of job a with another claim, which is kept and looked at as it is."""
    result = signed(payload_of.model_dump_json(), **signing)
    job = story().job
    return story().but(result=result, kept=kept(job, result), observations=looks(result))


def test_a_kept_result_is_one_line_with_what_the_pool_counted() -> None:
    told_story = story()
    line = only_line(told_story)
    assert isinstance(line, UsageRecorded)
    assert (line.quantity, line.claimed, line.counted) == (PIXELS, PIXELS, PIXELS)
    assert (line.contributor, line.device, line.gpu) == (CONTRIBUTOR, DEVICE.device, GPU)
    assert line.line == line_id(told_story.job, 1, 0)
    assert (line.price, line.terms_hash) == (told_story.accepted.price, told_story.accepted.terms_hash)
    assert line.result == told_story.result.payload_hash


def test_a_line_names_the_records_it_was_decided_from() -> None:
    received = Topics().put_all([story()])
    (line,) = lines(received)
    needed = [each for each in received if each.event.type_name != "JobFinished"]
    assert [(each.topic, each.partition, each.offset) for each in line.sources] == [
        (each.topic, each.place.partition, each.offset) for each in needed
    ]


def test_a_line_goes_to_its_contributor_with_the_stamp_of_the_kept_attempt() -> None:
    received = Topics().put_all([story()])
    (out,) = told(reversed(received)).events
    assert (out.key, out.partition) == (CONTRIBUTOR, None)
    assert out.time_ms == next(each.stamp_ms for each in received if each.event.type_name == "AttemptClosed")


def test_a_line_carries_the_pools_countersignature() -> None:
    line = only_line(story())
    fields = line.model_dump(mode="json")
    assert is_countersigned(fields, kind="UsageRecorded", pool=POOL, key=POOL_KEY.public)
    assert not is_countersigned(fields, kind="UsageHeld", pool=POOL, key=POOL_KEY.public)


@pytest.mark.parametrize("missing", range(5))
def test_nothing_is_counted_until_everything_is_there(missing: int) -> None:
    received = Topics().put_all([story()])
    assert lines([*received[:missing], *received[missing + 1 :]]) == []


def tricky_stories() -> list[Story]:
    """Repeats, strangers, lost attempts: whatever could make an order matter."""
    good = story("good")
    copied = signed(good.result.payload, device=OTHER_DEVICE, by=DEVICE)
    other = signed(claim(story("other").job, sequence=9).model_dump_json())
    short = story("short")
    lost = kept(story("second").job, good.result).model_copy(update={"outcome": "lost", "result": None})
    late = signed(claim(story("second").job, attempt=1).model_dump_json())
    second = story("second", attempt=2)
    given_up = story("given-up")
    return [
        # Somebody else's copy of the same words stands before them.
        Story(good.job, good.accepted, good.kept, copied, looks(copied)),
        good.but(more=(finished(good.job), kept(good.job, other)), observations=(*good.observations, *looks(other))),
        # The look that came first counts; a second one, and one at another result, change nothing.
        short.but(
            observations=(
                observed(short.result, short.result.claim.outputs[0], frames=FRAMES - 1),
                *short.observations,
                *looks(other),
            )
        ),
        second.but(more=(lost, finished(second.job)), observations=(*looks(late), *second.observations)),
        Story(second.job, second.accepted, second.kept, late, ()),
        given_up.but(
            kept=JobGivenUp(job=given_up.job, gateway="acme", attempts=3, reason="late", sentence="Late.", as_of=NOW)
        ),
        story("held").but(observations=tuple(unreadable(look) for look in story("held").observations)),
    ]


TRICKY = Topics().put_all(tricky_stories())
IN_ORDER = by_topic(TRICKY)


@st.composite
def interleavings(draw: st.DrawFn) -> list[Received]:
    """Each topic in its own order, as a log is read; anything between them."""
    turns = draw(st.permutations([topic for topic, records in IN_ORDER.items() for _ in records]))
    waiting = {topic: iter(records) for topic, records in IN_ORDER.items()}
    return [next(waiting[topic]) for topic in turns]


def as_published(events: Iterable[Outgoing]) -> dict[str, tuple[bytes, str, int]]:
    found = list(events)
    published = {out.event.line: (out.event.to_bytes(), out.key, out.time_ms) for out in found}  # type: ignore[attr-defined]
    assert len(published) == len(found)
    return published


def told_in_batches(received: Sequence[Received], sizes: Sequence[int]) -> list[Outgoing]:
    """Each batch knows only what it loads under its keys, and what it doesn't save is forgotten."""
    kept: Kept = {}
    events: list[Outgoing] = []
    waiting, size_of = iter(received), itertools.cycle(sizes)
    while batch := list(itertools.islice(waiting, next(size_of))):
        decision = told(batch, loaded(kept, [key for each in batch for key in keys(each)]))
        saved(kept, decision.state)
        events += decision.events
    return events


EXPECTED = as_published(told(TRICKY).events)


@settings(max_examples=100, deadline=None)
@given(interleavings(), st.lists(st.integers(1, 12), min_size=1, max_size=5))
def test_lines_are_the_same_to_the_byte_in_every_order_of_arrival_and_any_batches(
    received: list[Received], sizes: list[int]
) -> None:
    assert as_published(told(received).events) == EXPECTED
    assert as_published(told_in_batches(received, sizes)) == EXPECTED


def test_the_tricky_stories_come_out_as_told() -> None:
    found = {line.job: line for line in lines(TRICKY)}
    names = ("good", "short", "second", "held")
    assert set(found) == {story(name).job for name in names}
    good, short, second, held = (found[story(name).job] for name in names)
    assert isinstance(good, UsageRecorded)
    assert isinstance(second, UsageRecorded)
    assert second.attempt == 2
    assert isinstance(short, UsageHeld)
    assert short.reason == "count-differs"
    assert isinstance(held, UsageHeld)
    assert (held.reason, held.quantity) == ("output-unreadable", 0)


def test_a_repeated_record_adds_no_second_line() -> None:
    received = Topics().put_all([story()])
    assert len(lines([*received, *received])) == 1


def job() -> str:
    return story().job


@pytest.mark.parametrize(
    ("told_story", "reason", "claimed", "counted"),
    [
        pytest.param(
            with_result(claim(job(), outputs=[output(job(), each, pixels=10**9) for each in RENDITIONS])),
            "count-differs",
            2 * 10**9,
            PIXELS,
            id="more claimed than there is",
        ),
        pytest.param(
            with_result(claim(job(), outputs=[output(job(), each, pixels=1) for each in RENDITIONS])),
            "count-differs",
            2,
            PIXELS,
            id="less claimed than there is",
        ),
        pytest.param(
            story().but(observations=(unavailable(story().observations[0]), story().observations[1])),
            "output-unavailable",
            PIXELS,
            FRAMES * 640 * 360,
            id="an output that the store doesn't have",
        ),
        pytest.param(
            story().but(observations=(story().observations[0], unreadable(story().observations[1]))),
            "output-unreadable",
            PIXELS,
            FRAMES * 426 * 240,
            id="an output that is no video",
        ),
        pytest.param(
            story().but(
                observations=(
                    story().observations[0],
                    observed(story().result, story().result.claim.outputs[1], size=(1_280, 720)),
                )
            ),
            "size-differs",
            PIXELS,
            FRAMES * 426 * 240,
            id="larger than the job asked for",
        ),
        pytest.param(
            story().but(
                observations=(
                    story().observations[0],
                    observed(story().result, story().result.claim.outputs[1], decoded_frames=5),
                )
            ),
            "decode-differs",
            PIXELS,
            FRAMES * 426 * 240 + 5 * 640 * 360,
            id="frames that don't decode",
        ),
        pytest.param(
            with_result(claim(job(), outputs=[output(job(), RENDITIONS[0])])),
            "outputs-differ",
            FRAMES * 426 * 240,
            FRAMES * 426 * 240,
            id="an output is missing",
        ),
        pytest.param(
            with_result(claim(job(), outputs=[output(job(), RENDITIONS[0])] * 2)),
            "outputs-differ",
            2 * FRAMES * 426 * 240,
            FRAMES * 426 * 240,
            id="an output twice",
        ),
        pytest.param(
            with_result(
                claim(
                    job(),
                    outputs=[
                        *(output(job(), each) for each in RENDITIONS),
                        output(job(), RENDITIONS[1].model_copy(update={"name": "1080p"})),
                    ],
                )
            ),
            "outputs-differ",
            PIXELS + FRAMES * 640 * 360,
            PIXELS,
            id="an output that nobody asked for",
        ),
        pytest.param(
            with_result(claim(job(), outputs=[output(job(), each, pixels=UNITS_MAX) for each in RENDITIONS])),
            "count-differs",
            UNITS_MAX,
            PIXELS,
            id="a claim beyond what can be counted",
        ),
        pytest.param(
            with_result(claim(job()), by=OTHER_DEVICE), "wrong-signature", PIXELS, 0, id="signed by another device"
        ),
        pytest.param(
            with_result(claim(job()), pool="another"), "wrong-signature", PIXELS, 0, id="signed for another pool"
        ),
        pytest.param(with_result(claim(job(), attempt=2)), "lease-differs", PIXELS, 0, id="about another attempt"),
        pytest.param(
            with_result(claim(job(), lease=story("b").kept.lease)), "lease-differs", PIXELS, 0, id="another lease"
        ),
        pytest.param(
            with_result(claim(job()).model_copy(update={"job": story("b").job})),
            "lease-differs",
            PIXELS,
            0,
            id="about another job",
        ),
    ],
)
def test_a_line_is_held_with_the_lower_figure(told_story: Story, reason: str, claimed: int, counted: int) -> None:
    line = only_line(told_story)
    assert isinstance(line, UsageHeld)
    assert (line.reason, line.claimed, line.counted) == (reason, claimed, counted)
    assert line.quantity == min(claimed, counted)
    assert line.sentence.endswith(".")


@pytest.mark.parametrize("payload", ["", "{", '{"job": 1}', '"JobSucceeded"'])
def test_a_signed_text_that_claims_nothing_is_held_without_waiting_for_outputs(payload: str) -> None:
    result = signed(payload)
    line = only_line(story().but(result=result, kept=kept(job(), result), observations=()))
    assert isinstance(line, UsageHeld)
    assert (line.reason, line.quantity) == ("claim-unreadable", 0)


def test_the_gravest_doubt_is_given() -> None:
    told_story = with_result(claim(job(), attempt=2), by=OTHER_DEVICE)
    line = only_line(told_story)
    assert isinstance(line, UsageHeld)
    assert line.reason == "wrong-signature"


def test_the_blob_that_was_claimed_is_the_one_that_is_counted() -> None:
    elsewhere = tuple(
        observed(story().result, each.model_copy(update={"blob": blob("another")}))
        for each in story().result.claim.outputs
    )
    assert lines(Topics().put_all([story().but(observations=elsewhere)])) == []


@pytest.mark.parametrize("ended", [JobRefused, JobGivenUp])
def test_a_job_that_will_never_be_kept_leaves_nothing_behind(ended: type[JobRefused] | type[JobGivenUp]) -> None:
    told_story = story()
    facts: dict[str, Any] = {"request_id": "a"} if ended is JobRefused else {"attempts": 1}
    end = ended(job=told_story.job, gateway="acme", reason="late", sentence="Late.", as_of=NOW, **facts)
    topics = Topics()
    received = [topics.put(event, told_story.job) for event in (told_story.accepted, end, *told_story.events[2:])]
    decision = told(received)
    assert decision.events == ()
    assert decision.state.jobs[told_story.job].is_closed
    assert decision.state.jobs[told_story.job].parts == {}


def test_a_decided_job_keeps_nothing_but_that_it_was_counted() -> None:
    state = told(Topics().put_all([story()])).state
    counted = state.jobs[story().job]
    assert (counted.is_closed, counted.attempt, counted.parts) == (True, 1, {})


@pytest.mark.parametrize(
    "payee", ["0x" + "0" * 40, CONTRIBUTOR.lower(), CONTRIBUTOR[:-1] + "d"], ids=["nobody", "lower case", "mistyped"]
)
def test_what_nobody_can_be_paid_for_is_held(payee: str) -> None:
    told_story = story()
    line = only_line(told_story.but(kept=told_story.kept.model_copy(update={"contributor": payee})))
    assert isinstance(line, UsageHeld)
    assert line.reason == "payee-invalid"
