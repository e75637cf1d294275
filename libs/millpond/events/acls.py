"""Who may do what on the brokers, from the topic table: one owning role writes a topic, and only its readers read it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

from millpond.events.roles import OPERATOR, READS_ALL, SERVICES
from millpond.events.topic import Topic
from millpond.events.topics import TOPICS, gateway_requests

# In the generated document a gateway's id stands like this; each gateway gets these rules with its own id.
GATEWAY_PLACEHOLDER: Final = "<id>"

# edge's pages carry what the operator signed in his browser. That gives edge no authority: the signature is what counts.
CARRIES_FOR: Final = {OPERATOR: ("edge",)}


@dataclass(frozen=True, slots=True, order=True)
class Acl:
    """One allowing rule, in the words of Kafka's own tools; nothing is allowed without one."""

    principal: str
    resource: Literal["topic", "group"]
    name: str
    pattern: Literal["literal", "prefixed"]
    operation: Literal["Read", "Write"]


def principal(role: str) -> str:
    """The Kafka user of a role."""
    return f"User:millpond-{role}"


def group_prefix(role: str) -> str:
    """What the names of a role's consumer groups begin with."""
    return f"millpond-{role}"


def acls() -> tuple[Acl, ...]:
    """The rules for the pool's own roles, sorted."""
    groups = (Acl(principal(role), "group", group_prefix(role), "prefixed", "Read") for role in (*SERVICES, *READS_ALL))
    return tuple(sorted({*groups, *_on_topics(TOPICS.values())}))


def gateway_acls(gateway_id: str) -> tuple[Acl, ...]:
    """The rules that an external gateway's topic brings with it. Raises InvalidGatewayId."""
    return tuple(sorted(_on_topics([gateway_requests(gateway_id)])))


def acl_document() -> dict[str, object]:
    """All rules as JSON can hold them; those of a gateway as a pattern for each."""
    example = "id"
    topic = gateway_requests(example)
    per_gateway = [
        _as_json(acl, topic.name.replace(f".{example}.", f".{GATEWAY_PLACEHOLDER}."), topic.owner)
        for acl in gateway_acls(example)
    ]
    return {
        "generated": "by `millpond generate` from libs/millpond/events/topics.py; changes here are overwritten",
        "acls": [_as_json(acl, acl.name) for acl in acls()],
        "per_gateway": per_gateway,
    }


def _on_topics(topics: Iterable[Topic]) -> Iterator[Acl]:
    for topic in topics:
        writers = (topic.owner, *CARRIES_FOR.get(topic.owner, ()))
        # A service reads its own topics back: on start to see what arrived, and to rebuild its state from them.
        own = (topic.owner,) if topic.owner in SERVICES else ()
        for role in writers:
            yield Acl(principal(role), "topic", topic.name, "literal", "Write")
        for role in (*topic.readers, *READS_ALL, *own):
            yield Acl(principal(role), "topic", topic.name, "literal", "Read")


def _as_json(acl: Acl, name: str, gateway: str | None = None) -> dict[str, str]:
    user = acl.principal
    if gateway is not None and user == principal(gateway):
        user = principal(f"gateway-{GATEWAY_PLACEHOLDER}")
    return {
        "principal": user,
        "operation": acl.operation,
        "resource": acl.resource,
        "pattern": acl.pattern,
        "name": name,
    }
