"""A gateway's own words become a request of that gateway, and of no other."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from millpond.events.event import Event
from millpond.events.gateway_jobs import CancelAsked, JobAsked, JobCancelled, JobRequested
from millpond.events.ids import job_id
from millpond.events.topics import GATEWAY_JOBS, gateway_requests
from millpond.stream.decision import Outgoing, Received
from millpond.stream.outlet import Outlet
from millpond.stream.record import Place
from millpond.workloads.blob import Blob
from millpond.workloads.transcode import Rendition, TranscodeSpec
from millpond_edge.requests.rules import decide, gateway_of

SPEC = TranscodeSpec(
    source=Blob(hash="0x" + "ab" * 32, size_bytes=7),
    renditions=(Rendition(name="360p", width=640, height=360, bitrate_kbps=800),),
)
ASKED = JobAsked(id="a", workload="transcode", spec=SPEC, deadline_s=30)
THEIR_CLOCK_MS, OURS_MS = 1, 1_800_000_000_000


def carried(event: Event, gateway: str = "acme") -> Outgoing:
    topic = gateway_requests(gateway).name
    received = Received(topic, Place(topic, 0), 0, "", event, THEIR_CLOCK_MS, b"", finding=OURS_MS)
    (outgoing,) = decide(None, received).events
    return outgoing


def test_a_request_is_the_topics_gateways_and_has_our_stamp_and_the_item_of_the_other_door() -> None:
    outgoing = carried(ASKED)
    assert isinstance(outgoing.event, JobRequested)
    assert (outgoing.event.gateway, outgoing.event.deadline_s, outgoing.event.spec) == ("acme", 30, SPEC)
    assert (outgoing.key, outgoing.time_ms, outgoing.item) == (job_id("acme", "a"), OURS_MS, "acme/a")


def test_a_cancellation_names_the_same_job() -> None:
    outgoing = carried(CancelAsked(id="a"))
    assert outgoing.event == JobCancelled(job=job_id("acme", "a"), gateway="acme")
    assert outgoing.item == f"acme/{job_id('acme', 'a')}/cancel"


def test_a_body_that_claims_another_gateway_is_still_the_topics() -> None:
    forged = JobAsked.model_validate_json(ASKED.model_dump_json()[:-1] + ', "gateway": "victim", "job": "x"}')
    assert carried(forged).event == carried(ASKED).event


def test_what_is_decided_fits_the_topic() -> None:
    row = Outlet("edge", (GATEWAY_JOBS,)).row(carried(ASKED), "[]")
    assert '["item", "acme/a"]' in row.headers


@given(st.from_regex(r"[a-z0-9][a-z0-9-]{0,63}", fullmatch=True))
def test_the_topic_says_whose_it_is(gateway: str) -> None:
    assert gateway_of(gateway_requests(gateway).name) == gateway
