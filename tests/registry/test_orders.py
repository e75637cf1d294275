"""What the operator orders: carried out once, by his signature alone, about what it names; or refused with a sentence."""

from __future__ import annotations

import json
from typing import Any

import pytest

from millpond.events.operator_commands import OperatorCommanded
from millpond.events.pool_terms import TermsPublished
from millpond.events.registry_gateways import GatewayAdmitted, GatewaySuspended
from millpond.events.topics import OPERATOR_COMMANDS
from millpond.identity import (
    Action,
    AdmitGateway,
    ApproveContributor,
    Domain,
    PublishTerms,
    SkipRecord,
    SuspendContributor,
    SuspendGateway,
    sign_action,
)
from millpond.terms import canonical, terms_hash
from registry.pond import (
    IN_A_YEAR_S,
    OPERATOR,
    OPERATORS_KEY,
    START_MS,
    Pond,
    Wallet,
    kinds,
    open_pond,
    subject_of,
    terms,
)

STRANGERS_KEY = "0x" + "22" * 32
KEY_HASH = "0x" + "ab" * 32


def admission(nonce: int = 1, **changes: Any) -> AdmitGateway:
    return AdmitGateway(
        **{"gateway": "acme", "key_hash": KEY_HASH, "expires_at": IN_A_YEAR_S, "nonce": nonce, **changes}
    )


def document(**changes: Any) -> str:
    """The example's, with top-level fields changed, whether or not that makes sense."""
    return json.dumps(json.loads(canonical(terms())) | changes, separators=(",", ":"))


def test_the_terms_are_published_as_they_were_signed() -> None:
    pond = Pond()
    wanted = terms()
    (published,) = pond.publishes(wanted)
    assert isinstance(published, TermsPublished)
    assert (published.version, published.effective_from_epoch, published.signer) == (1, 0, OPERATOR)
    assert published.document == canonical(wanted)
    assert published.terms_hash == terms_hash(canonical(wanted))
    assert kinds(pond.publishes(terms(2))) == ["TermsPublished"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("no JSON", "the document: Invalid JSON"),
        (document(receipt_key="0x12"), "receipt_key: String should match pattern"),
        (document(colour="red"), "colour: Extra inputs are not permitted"),
        (canonical(terms()) + " ", "not spelt canonically"),
        (document(pool="lake"), "pool is 'lake', and this is the pool 'pond'"),
        (document(version=2), "version is 2, and the order says 1"),
    ],
)
def test_terms_that_can_t_be_read_or_are_another_pool_s_are_refused(text: str, sentence: str) -> None:
    pond = Pond()
    assert pond.orders(PublishTerms(version=1, document=text, nonce=1)) == []
    assert sentence in pond.refusals[0]
    assert pond.state.terms == ()


def test_versions_have_no_gaps_and_epochs_that_have_begun_are_not_rewritten() -> None:
    pond = open_pond()
    assert pond.publishes(terms(3)) == []
    assert pond.refusals[-1].endswith("version is 3, and the next one is 2.")
    pond.publishes(terms(2, effective_from_epoch=4))
    assert pond.publishes(terms(3, effective_from_epoch=3)) == []
    assert pond.refusals[-1].endswith("effective_from_epoch is 3, and epoch 4 has begun already.")
    pond.closes(8)
    assert pond.publishes(terms(3, effective_from_epoch=8)) == []
    assert kinds(pond.publishes(terms(3, effective_from_epoch=9))) == ["TermsPublished"]


def test_a_gateway_has_one_key_that_is_valid_until_its_end_and_can_be_suspended_and_admitted_again() -> None:
    pond = open_pond()
    (admitted,) = pond.orders(admission())
    assert isinstance(admitted, GatewayAdmitted)
    assert (admitted.gateway, admitted.key_hash, admitted.signer, admitted.nonce) == ("acme", KEY_HASH, OPERATOR, 1)
    assert admitted.expires_at.timestamp() == IN_A_YEAR_S
    (suspended,) = pond.orders(SuspendGateway(gateway="acme", reason="Did not pay.", nonce=2))
    assert isinstance(suspended, GatewaySuspended)
    assert suspended.sentence == "Did not pay."
    assert pond.orders(SuspendGateway(gateway="acme", reason="again", nonce=3)) == []
    assert kinds(pond.orders(admission(4, key_hash="0x" + "cd" * 32))) == ["GatewayAdmitted"]


@pytest.mark.parametrize(
    ("action", "sentence"),
    [
        (admission(gateway="Acme Inc."), "The gateway id 'Acme Inc.' can't be part of a topic's name"),
        (admission(expires_at=START_MS // 1000), "is past, or in no calendar"),
        (admission(expires_at=2**200), "is past, or in no calendar"),
        (SuspendGateway(gateway="nobody", reason="r", nonce=1), "There is no gateway 'nobody'"),
        (SuspendContributor(contributor=OPERATOR, reason="r", nonce=2), None),
    ],
)
def test_an_order_about_nobody_or_nothing_is_refused(action: Action, sentence: str | None) -> None:
    pond = open_pond()
    said = pond.orders(action)
    if sentence is None:
        assert kinds(said) == ["ContributorSuspended"]  # also one who was never there: he doesn't come in
        return
    assert said == []
    assert sentence in pond.refusals[0]


def test_what_is_done_is_not_done_again() -> None:
    pond, ada = open_pond(), Wallet("ada")
    pond.approves(ada)
    assert pond.approves(ada) == []
    assert pond.refusals[-1] == f"{ada.address} is admitted: there is nothing to approve."
    assert Pond().approves(ada) == []
    pond.orders(SuspendContributor(contributor=ada.address, reason="r", nonce=pond.nonce()))
    assert pond.orders(SuspendContributor(contributor=ada.address, reason="r", nonce=pond.nonce())) == []
    assert pond.refusals[-1].endswith("is suspended already: there is nothing to suspend.")


def test_nobody_can_approve_before_there_are_terms_to_agree_to() -> None:
    pond = Pond()
    assert pond.approves(Wallet("ada")) == []
    assert pond.refusals == [
        "The pool has no terms in force, so nobody can agree to them. Run: millpond terms publish FILE"
    ]


ORDERS = [
    PublishTerms(version=2, document=canonical(terms(2)), nonce=50),
    ApproveContributor(contributor=Wallet("ada").address, nonce=50),
    SuspendContributor(contributor=Wallet("ada").address, reason="r", nonce=50),
    admission(50),
]


@pytest.mark.parametrize("action", ORDERS, ids=lambda action: type(action).__name__)
def test_only_an_operator_s_signature_for_this_pool_counts(action: Action) -> None:
    pond = open_pond()
    before = pond.state
    assert pond.orders(action, key=STRANGERS_KEY) == []
    assert "may not give this pool orders" in pond.refusals[0]
    lake = sign_action(action, domain=Domain(pool="lake", chain_id=31_337), private_key=OPERATORS_KEY)
    command = OperatorCommanded(**{**vars(lake), "message": dict(lake.message)})
    assert pond.take(pond.received(OPERATOR_COMMANDS, subject_of(action), command)) == []
    assert "signature of" in pond.refusals[1]
    assert pond.state == before


@pytest.mark.parametrize("action", ORDERS, ids=lambda action: type(action).__name__)
def test_the_same_signature_under_another_key_is_not_new(action: Action) -> None:
    """The nonces rise for each subject: a replay must not find one that has heard none."""
    pond = open_pond()
    assert pond.orders(action, subject="elsewhere") == []
    assert "The record's key is 'elsewhere'" in pond.refusals[0]
    assert len(pond.orders(action)) == 1
    assert pond.orders(action) == []
    assert pond.refusals[1].startswith("nonce is 50, and 50 of the same signer")


def test_what_is_refused_uses_up_no_nonce_and_another_service_s_order_is_none_of_ours() -> None:
    pond = open_pond()
    pond.orders(SuspendGateway(gateway="acme", reason="r", nonce=7))
    assert kinds(pond.orders(admission(7))) == ["GatewayAdmitted"]
    skip = SkipRecord(service="s", topic="t", partition=0, offset=0, content_hash=KEY_HASH, reason="r", nonce=1)
    before = len(pond.refusals)
    assert pond.orders(skip, subject="s") == []
    assert len(pond.refusals) == before
