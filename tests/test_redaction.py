"""What is secret is not printed, and what is not secret still is."""

from __future__ import annotations

import pytest

from millpond.redaction import MASK, redacted, redacted_text

SECRET_NAMES = [
    "password",
    "sasl_plain_password",
    "PGPASSWORD",
    "private_key",
    "privateKey",
    "secret",
    "client_secret",
    "token",
    "access_token",
    "token_jwt",
    "api_key",
    "apikey",
    "Authorization",
    "mnemonic",
    "dsn",
    "postgres_dsn",
    "cookie",
]
OPEN_NAMES = ["key", "public_key", "tokens", "partition", "topic", "tokenizer", "device_key", "offset", "contributor"]


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_a_secret_is_known_by_its_name(name: str) -> None:
    assert redacted({"a": [{name: "hunter2"}]}) == {"a": [{name: MASK}]}


@pytest.mark.parametrize("name", OPEN_NAMES)
def test_what_is_no_secret_is_shown(name: str) -> None:
    assert redacted({name: "value"}) == {name: "value"}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://pond:hunter2@db:5432/pond", f"postgresql://{MASK}@db:5432/pond"),
        ("postgresql://pond:hun@ter2@db/pond?x=1", f"postgresql://{MASK}@db/pond?x=1"),
        ("see https://hunter2@host/a and http://b:hunter2@c", f"see https://{MASK}@host/a and http://{MASK}@c"),
        ("host=db user=pond password=hunter2 dbname=x", f"host=db user=pond password={MASK} dbname=x"),
        ("host=db password='hun ter2' dbname=x", f"host=db password={MASK} dbname=x"),
        ("https://host/rpc?api_key=hunter2&a=b", f"https://host/rpc?api_key={MASK}&a=b"),
    ],
)
def test_a_secret_is_known_by_its_shape(text: str, shown: str) -> None:
    assert redacted_text(text) == shown
    assert redacted({"event": (text,)}) == {"event": [shown]}


@pytest.mark.parametrize("text", ["mail to a@b", "http://host/a@b", "kafka-1:9092", "agent.results.v1[3]@1042"])
def test_text_without_a_secret_is_left_as_it_is(text: str) -> None:
    assert redacted_text(text) == text


def test_an_error_is_shown_without_the_url_it_quotes() -> None:
    assert "hunter2" not in redacted({"error": OSError("postgresql://pond:hunter2@db is down")})["error"]


def test_a_structure_without_an_end_is_cut() -> None:
    endless: dict[str, object] = {}
    endless["again"] = endless
    assert "…" in str(redacted(endless))
