"""The pool's terms: the next version, as the operator signed it, and what follows from it for those who are there."""

from __future__ import annotations

from dataclasses import replace

from pydantic import ValidationError

from millpond.events.operator_commands import OperatorCommanded
from millpond.events.pool_terms import DOCUMENT_CHARACTERS_MAX, TermsPublished
from millpond.events.rewards_epochs import EpochClosing
from millpond.events.topics import POOL_TERMS
from millpond.identity.actions import PublishTerms
from millpond.stream.decision import Decision, Outgoing, Received
from millpond.terms.terms import Terms, canonical, terms_hash
from millpond_registry.rules.enrolments import ask_in_again
from millpond_registry.rules.gpus import restand_all
from millpond_registry.rules.refusals import TermsRefused
from millpond_registry.rules.state import Pool, Published, Ruled, State, also


def on_publish_terms(
    pool: Pool, state: State, received: Received, command: OperatorCommanded, order: PublishTerms
) -> Ruled:
    terms = _read(pool, state, order)
    published = TermsPublished(
        version=terms.version,
        effective_from_epoch=terms.effective_from_epoch,
        terms_hash=terms_hash(order.document),
        document=order.document,
        signer=command.signer,
        nonce=order.nonce,
        signature=command.signature,
    )
    out = Outgoing(POOL_TERMS, pool.domain.pool, published, received.stamp_ms)
    after = put_terms(state, Published(terms, order.document, received.stamp_ms))
    return _in_force(Decision(after, (out,)), before=state, at_ms=received.stamp_ms)


def on_closing(state: State, received: Received, event: EpochClosing) -> Ruled:
    """The next epoch begins, and perhaps other terms with it."""
    after = replace(state, epoch=max(state.epoch, event.epoch + 1))
    return _in_force(Decision(after), before=state, at_ms=received.stamp_ms)


def put_terms(state: State, published: Published) -> State:
    return replace(state, terms=(*state.terms, published))


def _in_force(decision: Ruled, *, before: State, at_ms: int) -> Ruled:
    """If other terms are in force than before: who waited may come in, and every GPU is measured by them."""
    if decision.state.terms_in_force == before.terms_in_force:
        return decision
    decision = also(decision, lambda state: ask_in_again(state, at_ms))
    return also(decision, lambda state: restand_all(state, at_ms))


def _read(pool: Pool, state: State, order: PublishTerms) -> Terms:
    """Raises ``TermsRefused``."""
    if len(order.document) > DOCUMENT_CHARACTERS_MAX:
        raise TermsRefused(problem=f"the document has {len(order.document)} characters, of {DOCUMENT_CHARACTERS_MAX}.")
    try:
        terms = Terms.model_validate_json(order.document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the document"
        raise TermsRefused(problem=f"{where}: {first['msg']}") from error
    last = state.terms[-1].terms if state.terms else None
    if canonical(terms) != order.document:
        raise TermsRefused(
            problem="the document is not spelt canonically. Publish it with: millpond terms publish FILE"
        )
    if terms.pool != pool.domain.pool:
        raise TermsRefused(problem=f"pool is {terms.pool!r}, and this is the pool {pool.domain.pool!r}.")
    if terms.version != order.version:
        raise TermsRefused(problem=f"version is {terms.version}, and the order says {order.version}.")
    wanted = last.version + 1 if last else 1
    if terms.version != wanted:
        raise TermsRefused(problem=f"version is {terms.version}, and the next one is {wanted}.")
    earliest = max(state.epoch, last.effective_from_epoch) if last else 0
    if terms.effective_from_epoch < earliest:
        problem = f"effective_from_epoch is {terms.effective_from_epoch}, and epoch {earliest} has begun already."
        raise TermsRefused(problem=problem)
    return terms
