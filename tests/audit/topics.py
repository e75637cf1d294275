"""Topics for an audit: metering's lines from their sources, rewards' epochs from the lines, by the services' own rules."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from metering.samples import POOL_KEY, SIGNATURES, claim, kept, looks, signed
from metering.samples import Story as Job
from metering.samples import story as job_story
from millpond.events.event import Event
from millpond.events.on_chain import AtBlock, item_of
from millpond.events.pool_terms import TermsPublished
from millpond.events.rewards_epochs import EpochClosed
from millpond.events.topic import Topic, Written
from millpond.events.topics import (
    AGENT_RESULTS,
    INSPECTOR_OBSERVATIONS,
    SCHEDULER_ASSIGNMENTS,
    TOPICS,
)
from millpond.proofs.checkpoint import KIND, sign_checkpoint
from millpond.stream.decision import Received
from millpond.stream.log import Outbound
from millpond.stream.memory.log import MemoryLog
from millpond.stream.record import ITEM, Place, Record
from millpond.terms import Terms, canonical, terms_hash
from millpond_metering.rules import NOTHING, decide
from millpond_rewards.rules import Pool
from rewards.story import DOMAIN, OPERATOR, Story, commission, terms

FINDINGS: Final = (AGENT_RESULTS, SCHEDULER_ASSIGNMENTS, INSPECTOR_OBSERVATIONS)


def offered(**sections: object) -> TermsPublished:
    """The story's terms, with the key that signs lines and checkpoints here, and the price of its jobs."""
    published = terms(**sections)  # type: ignore[arg-type]
    document = json.loads(published.document)
    document["receipt_key"] = POOL_KEY.public
    document["prices"] = [{"workload": "transcode", "unit": "pixel", "wei": "1200", "per_units": 1000}]
    text = canonical(Terms.model_validate_json(json.dumps(document)))
    return published.model_copy(update={"document": text, "terms_hash": terms_hash(text)})


POOL: Final = Pool(
    DOMAIN,
    frozenset({OPERATOR}),
    None,
    lambda closed: sign_checkpoint(closed, lambda text: POOL_KEY.sign(pool=DOMAIN.pool, kind=KIND, text=text)),
)


@dataclass
class Pond(Story):
    """A story in which the jobs, too, stand on their topics, and lines are what metering makes of them."""

    pool: Pool = POOL
    published: TermsPublished = field(default_factory=lambda: offered(split=commission(70_001)))

    def begin(self) -> Pond:
        self.tell(self.published)
        return self

    def work(self, who: str, name: str, *, claims: int = 0) -> Pond:
        """A job that ``who`` did; ``claims``: how many pixels more than there are he claims."""
        told = job_story(name)
        if claims:
            outputs = list(told.result.claim.outputs)
            outputs[0] = outputs[0].model_copy(update={"pixels": outputs[0].pixels + claims})
            result = signed(claim(told.job, outputs=outputs).model_dump_json())
            told = told.but(result=result, kept=kept(told.job, result), observations=looks(result))
        told = told.but(
            accepted=told.accepted.model_copy(update={"terms_hash": self.published.terms_hash}),
            kept=told.kept.model_copy(update={"contributor": who}),
        )
        return self.tell_of(told)

    def tell_of(self, told: Job) -> Pond:
        state, out = NOTHING, []
        for event in told.events:
            received = self.received(self.put(event, told.job))
            decision = decide(state, received, signatures=SIGNATURES)
            state = decision.state
            out += decision.events
        for each in out:
            self.tell(each.event)
        return self

    def close(self) -> EpochClosed:
        """As in the story, but that metering answers for where its inputs really end."""
        ends = {
            topic.name: tuple(len(self.logs.get(Place(topic.name, n), ())) for n in range(topic.partitions))
            for topic in FINDINGS
        }
        self.findings = ends
        return super().close()

    findings: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def _append(self, topic: Topic, partition: int, key: str, event: Event, time_ms: int) -> Record:
        record = super()._append(topic, partition, key, event, time_ms)
        if topic in FINDINGS:
            self.logs.setdefault(record.place, []).append(record)
        return record

    def received(self, record: Record) -> Received:
        return super().received(record)._replace(finding=self.findings)

    def places(self) -> dict[Place, list[Record]]:
        """Everything, as it stands on the topics."""
        places = {place: list(records) for place, records in self.logs.items()}
        for record in self.own:
            if record.place not in self.logs:
                places.setdefault(record.place, []).append(record)
        return places

    def log(self, change: Callable[[dict[Place, list[Record]]], None] | None = None) -> MemoryLog:
        """On a log, with the headers that name items; ``change`` may tamper with it first."""
        places = self.places()
        if change is not None:
            change(places)
        log = MemoryLog()
        for place, records in sorted(places.items()):
            for record in records:
                log.append(place, outbound(record))
        return log


def outbound(record: Record) -> Outbound:
    topic = TOPICS[record.topic]
    headers = record.headers
    if topic.written is Written.BY_SOURCE:
        headers = (*headers, (ITEM, _item(record).encode()))
    return Outbound(record.key, record.value, headers, record.timestamp_ms)  # type: ignore[arg-type]


def _item(record: Record) -> str:
    kind = TOPICS[record.topic].event_types[(record.header("ce_type") or b"").decode()]
    try:
        event: Event = kind.model_validate_json(record.value or b"")
    except ValueError:
        return f"{record.place}/{record.offset}"
    if isinstance(event, AtBlock):
        return item_of(event)
    return f"{record.place}/{record.offset}"
