"""The AsyncAPI document: whole, valid as far as one can say offline, and about the very table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from faststream.specification.asyncapi.v3_0_0.schema import ApplicationSchema

from millpond.events.asyncapi import asyncapi_document
from millpond.events.topics import TOPICS


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return asyncapi_document()


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(reference := node.get("$ref"), str):
            yield reference
        for each in node.values():
            yield from references(each)
    elif isinstance(node, list):
        for each in node:
            yield from references(each)


def test_it_has_the_form_of_asyncapi_3(document: dict[str, Any]) -> None:
    assert document["asyncapi"] == "3.0.0"
    ApplicationSchema.model_validate(document)


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    found = list(references(document))
    assert found
    for reference in found:
        node: Any = document
        assert reference.startswith("#/")
        for step in reference[2:].split("/"):
            node = node[step]


def test_every_topic_is_a_channel_with_its_partitions_and_settings(document: dict[str, Any]) -> None:
    assert set(document["channels"]) == {*TOPICS, "gateway.requests.v1"}
    for name, topic in TOPICS.items():
        channel = document["channels"][name]
        assert channel["address"] == name
        binding = channel["bindings"]["kafka"]
        assert binding["partitions"] == topic.partitions
        assert binding["topicConfiguration"]["cleanup.policy"] == ["delete"]
        assert (binding["topicConfiguration"]["retention.ms"] == -1) == (topic.retention is None)
        assert set(channel["messages"]) == set(topic.event_types)


def test_a_gateways_channel_has_its_id_as_parameter(document: dict[str, Any]) -> None:
    channel = document["channels"]["gateway.requests.v1"]
    assert channel["address"] == "gateway.{gateway_id}.requests.v1"
    assert set(channel["parameters"]) == {"gateway_id"}


def test_owners_send_and_readers_receive(document: dict[str, Any]) -> None:
    operations = document["operations"]
    expected = {f"{topic.owner}.sends.{name}": "send" for name, topic in TOPICS.items()}
    expected |= {f"{role}.receives.{name}": "receive" for name, topic in TOPICS.items() for role in topic.readers}
    expected |= {"gateway.sends.gateway.requests.v1": "send", "edge.receives.gateway.requests.v1": "receive"}
    assert {name: operation["action"] for name, operation in operations.items()} == expected
    for name, operation in operations.items():
        assert name.endswith(operation["channel"]["$ref"].removeprefix("#/channels/"))


def test_every_event_has_its_schema_and_says_what_it_means(document: dict[str, Any]) -> None:
    for topic in TOPICS.values():
        for name, event in topic.event_types.items():
            schema = document["components"]["schemas"][name]
            assert set(schema["properties"]) == set(event.model_fields)
            # A reader must take what a newer writer adds.
            assert schema.get("additionalProperties") is not False
            assert document["components"]["messages"][name]["summary"]
