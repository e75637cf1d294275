"""One owning role writes a topic; only its readers, the auditor and the portal read it."""

from __future__ import annotations

from millpond.events.acls import Acl, acl_document, acls, gateway_acls, principal
from millpond.events.roles import OPERATOR, READS_ALL, SERVICES
from millpond.events.topics import TOPICS


def allowed(operation: str, topic: str) -> set[str]:
    return {acl.principal for acl in acls() if (acl.operation, acl.resource, acl.name) == (operation, "topic", topic)}


def users(*roles: str) -> set[str]:
    return {principal(role) for role in roles}


def test_only_the_owner_writes() -> None:
    for name, topic in TOPICS.items():
        assert allowed("Write", name) == users(topic.owner, *(["edge"] if topic.owner == OPERATOR else []))


def test_only_readers_read_and_auditors_and_who_must_rebuild_from_his_own() -> None:
    for name, topic in TOPICS.items():
        own = [topic.owner] if topic.owner in SERVICES else []
        assert allowed("Read", name) == users(*topic.readers, *READS_ALL, *own)


def test_bank_details_reach_treasury_and_no_other_program_that_decides() -> None:
    assert allowed("Read", "contributor.sealed.v1") & users(*SERVICES) == users("treasury", "edge")


def test_a_gateway_may_write_its_own_topic_and_nothing_else() -> None:
    name = "gateway.studio.requests.v1"
    mine = [acl for acl in gateway_acls("studio") if acl.principal == "User:millpond-gateway-studio"]
    assert mine == [Acl("User:millpond-gateway-studio", "topic", name, "literal", "Write")]
    assert not [acl for acl in acls() if "gateway-" in acl.principal]
    readers = {acl.principal for acl in gateway_acls("studio") if acl.operation == "Read"}
    assert readers == users("edge", *READS_ALL)


def test_nobody_has_a_rule_by_wildcard_and_groups_are_ones_own() -> None:
    for acl in acls():
        assert "*" not in acl.name
        if acl.resource == "group":
            assert (acl.pattern, acl.principal) == ("prefixed", f"User:{acl.name}")
        else:
            assert acl.pattern == "literal"
    names = sorted(acl.name for acl in acls() if acl.resource == "group")
    # A prefix of another's prefix would let one service join the other's group.
    assert not [(a, b) for a in names for b in names if a != b and b.startswith(a)]


def test_the_document_shows_a_gateways_rules_as_a_pattern() -> None:
    rules = acl_document()["per_gateway"]
    assert {
        "principal": "User:millpond-gateway-<id>",
        "operation": "Write",
        "resource": "topic",
        "pattern": "literal",
        "name": "gateway.<id>.requests.v1",
    } in rules  # type: ignore[operator]
