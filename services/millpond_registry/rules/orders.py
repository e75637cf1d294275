"""What the operator signs: contributors, gateways, terms. Each order names its subject, which is the record's key."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import get_args

from millpond.events.operator_commands import OperatorCommanded
from millpond.events.registry_gateways import GatewayAdmitted, GatewaySuspended
from millpond.events.registry_members import ContributorSuspended
from millpond.events.topics import REGISTRY_GATEWAYS
from millpond.identity.actions import (
    AdmitGateway,
    ApproveContributor,
    PublishTerms,
    SuspendContributor,
    SuspendGateway,
)
from millpond.identity.errors import ActionRefused, NonceTooLow
from millpond.identity.signing import verify_action
from millpond.stream.decision import Decision, Outgoing, Received
from millpond_registry.rules.devices import keep, member
from millpond_registry.rules.enrolments import CALENDAR_ENDS_S, admit
from millpond_registry.rules.gpus import restand_each
from millpond_registry.rules.publishing import on_publish_terms
from millpond_registry.rules.refusals import (
    AlreadyIn,
    AlreadySuspended,
    KeyExpires,
    NoGateway,
    NotAGateway,
    NoTermsYet,
    OrderRefused,
    OtherSubject,
)
from millpond_registry.rules.state import Gateway, Pool, Ruled, State, also, time_of

SENTENCE_CHARACTERS_MAX = 2_000

Order = PublishTerms | ApproveContributor | SuspendContributor | AdmitGateway | SuspendGateway
ORDERS = frozenset(kind.__name__ for kind in get_args(Order))


def on_commanded(pool: Pool, state: State, received: Received, command: OperatorCommanded) -> Ruled:
    """Carried out once, or refused with a sentence; another service's order is none of ours."""
    if command.action not in ORDERS:
        return Decision(state)
    try:
        order = verify_action(command, domain=pool.domain, signers=pool.operators)
        assert isinstance(order, Order)
        return _carried_out(pool, state, received, command, order)
    except (ActionRefused, OrderRefused) as refusal:
        return Decision(state, refusal=str(refusal))


def _carried_out(pool: Pool, state: State, received: Received, command: OperatorCommanded, order: Order) -> Ruled:
    subject = _subject(pool, order)
    # The nonces rise for each subject: under another key the same signature would look new.
    if received.key != subject:
        raise OtherSubject(key=received.key[:120], subject=subject)
    last = state.nonces.get(nonce_key(command.signer, subject))
    if last is not None and order.nonce <= last:
        raise NonceTooLow(nonce=order.nonce, last=last)
    state = heard(state, command.signer, subject, order.nonce)
    match order:
        case PublishTerms():
            return on_publish_terms(pool, state, received, command, order)
        case ApproveContributor():
            return _approve(state, received, command, order)
        case SuspendContributor():
            return _suspend(state, received, command, order)
        case AdmitGateway():
            return _admit_gateway(state, received, command, order)
        case SuspendGateway():
            return _suspend_gateway(state, received, command, order)


def _subject(pool: Pool, order: Order) -> str:
    match order:
        case PublishTerms():
            return pool.domain.pool
        case ApproveContributor(contributor=contributor) | SuspendContributor(contributor=contributor):
            return contributor
        case AdmitGateway(gateway=gateway) | SuspendGateway(gateway=gateway):
            return gateway


def nonce_key(signer: str, subject: str) -> str:
    return f"{signer}/{subject}"


def heard(state: State, signer: str | None, subject: str, nonce: int | None) -> State:
    """The nonce is used up. None: no order was the cause."""
    if signer is None or nonce is None:
        return state
    return replace(state, nonces=state.nonces.put(nonce_key(signer, subject), nonce))


def _approve(state: State, received: Received, command: OperatorCommanded, order: ApproveContributor) -> Ruled:
    contributor = state.contributor(order.contributor)
    if state.terms_in_force is None:
        raise NoTermsYet
    if contributor.state == "draining" or (contributor.state == "admitted" and not contributor.suspended):
        raise AlreadyIn(contributor=order.contributor, state=contributor.state)
    return admit(state, order.contributor, "approval", received.stamp_ms, signer=command.signer, nonce=order.nonce)


def _suspend(state: State, received: Received, command: OperatorCommanded, order: SuspendContributor) -> Ruled:
    address, at_ms = order.contributor, received.stamp_ms
    contributor = state.contributor(address)
    if contributor.suspended:
        raise AlreadySuspended(subject=address)
    suspended = ContributorSuspended(
        contributor=address,
        reason="by-operator",
        sentence=order.reason[:SENTENCE_CHARACTERS_MAX],
        signer=command.signer,
        nonce=order.nonce,
    )
    decision = Decision(keep(state, replace(contributor, suspended=True)), (member(address, suspended, at_ms),))
    return also(decision, lambda state: restand_each(state, contributor.devices, at_ms))


def _admit_gateway(state: State, received: Received, command: OperatorCommanded, order: AdmitGateway) -> Ruled:
    if not re.fullmatch("[a-z0-9][a-z0-9-]{0,63}", order.gateway):
        raise NotAGateway(gateway=order.gateway[:120])
    if not received.stamp_ms < order.expires_at * 1000 <= CALENDAR_ENDS_S * 1000:
        raise KeyExpires(expires_at=order.expires_at)
    expires_at = time_of(order.expires_at * 1000)
    admitted = GatewayAdmitted(
        gateway=order.gateway,
        key_hash=order.key_hash,
        expires_at=expires_at,
        signer=command.signer,
        nonce=order.nonce,
    )
    gateways = state.gateways.put(order.gateway, Gateway(order.key_hash, expires_at))
    out = Outgoing(REGISTRY_GATEWAYS, order.gateway, admitted, received.stamp_ms)
    return Decision(replace(state, gateways=gateways), (out,))


def _suspend_gateway(state: State, received: Received, command: OperatorCommanded, order: SuspendGateway) -> Ruled:
    gateway = state.gateways.get(order.gateway)
    if gateway is None:
        raise NoGateway(gateway=order.gateway[:120])
    if gateway.suspended:
        raise AlreadySuspended(subject=order.gateway)
    suspended = GatewaySuspended(
        gateway=order.gateway,
        sentence=order.reason[:SENTENCE_CHARACTERS_MAX],
        signer=command.signer,
        nonce=order.nonce,
    )
    gateways = state.gateways.put(order.gateway, replace(gateway, suspended=True))
    out = Outgoing(REGISTRY_GATEWAYS, order.gateway, suspended, received.stamp_ms)
    return Decision(replace(state, gateways=gateways), (out,))
