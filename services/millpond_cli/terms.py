"""``millpond terms``: the pool's terms published, and shown."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from pydantic import ValidationError

from millpond.errors import MillpondError
from millpond.events.pool_terms import TermsPublished
from millpond.events.topics import POOL_TERMS
from millpond.identity import PublishTerms
from millpond.settings import PoolSettings, load
from millpond.terms import Terms, canonical, read_terms_file
from millpond_cli.kafka_orders import read_topic
from millpond_cli.orders import WAIT_S, Keystore, PasswordFile, Wait, fail, operator, order
from millpond_cli.topics import BootstrapServers, kafka_settings

LINE_CHARACTERS = 100

terms = typer.Typer(no_args_is_help=True, help="What the pool offers, version by version.")


class OtherPool(MillpondError):
    """{path} is about the pool {found!r}, and MILLPOND_POOL_ID is {wanted!r}. Correct one of them."""


class NoTerms(MillpondError):
    """No terms were ever published on {servers}. Run: millpond terms publish FILE"""


class NoSuchVersion(MillpondError):
    """There is no version {version} of the terms; there are {versions}."""


@terms.command("publish")
def publish(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="YAML; deploy/terms/example.yaml is one, with comments.")
    ],
    keystore: Keystore,
    password_file: PasswordFile,
    wait: Wait = WAIT_S,
    bootstrap_servers: BootstrapServers = None,
) -> None:
    """Publish the next version of the pool's terms. Signed by an operator, and never edited afterwards."""
    try:
        read = read_terms_file(file)
        pool = load(PoolSettings).id
        if read.pool != pool:
            raise OtherPool(path=file, found=read.pool, wanted=pool)
        published = order(
            operator(keystore, password_file),
            lambda nonce: PublishTerms(version=read.version, document=canonical(read), nonce=nonce),
            subject=pool,
            answers=POOL_TERMS,
            wait_s=wait,
            bootstrap_servers=bootstrap_servers,
        )
    except MillpondError as error:
        fail(error)
    assert isinstance(published, TermsPublished)
    typer.echo(
        f"Published: version {published.version} of the terms of {pool}, from epoch {published.effective_from_epoch} on.\n"
        f"Hash {published.terms_hash}"
    )


@terms.command("show")
def show(
    version: Annotated[int | None, typer.Option(min=1, help="Which; unset: the latest.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The document, byte for byte as it was signed.")] = False,
    bootstrap_servers: BootstrapServers = None,
) -> None:
    """Show the pool's terms, as a file that could be published again."""
    try:
        settings = kafka_settings(bootstrap_servers)
        records = asyncio.run(read_topic(settings, POOL_TERMS))
        versions = {event.version: event for event in map(_published, (record.value for record in records)) if event}
        if not versions:
            raise NoTerms(servers=settings.bootstrap_servers)
        if version is not None and version not in versions:
            raise NoSuchVersion(version=version, versions=", ".join(map(str, sorted(versions))))
    except MillpondError as error:
        fail(error)
    chosen = versions[max(versions) if version is None else version]
    typer.echo(chosen.document if as_json else _page(chosen, len(versions)))


def _published(value: bytes | None) -> TermsPublished | None:
    try:
        return TermsPublished.model_validate_json(value or b"")
    except ValidationError:
        return None


def _page(published: TermsPublished, count: int) -> str:
    # Through the model only to know that it is one; what is shown is what was signed.
    Terms.model_validate_json(published.document)
    document: dict[str, Any] = json.loads(published.document)
    text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=LINE_CHARACTERS)
    return (
        f"# Version {published.version} of {count}, from epoch {published.effective_from_epoch} on.\n"
        f"# Signed by {published.signer}; hash {published.terms_hash}\n\n{text.rstrip()}"
    )
