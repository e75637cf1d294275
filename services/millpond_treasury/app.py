"""Wiring of treasury."""

from __future__ import annotations

import time
from functools import partial

import structlog

from millpond.chain.account import Signer
from millpond.errors import MillpondError
from millpond.events.topics import TREASURY_SETTLEMENTS, deadletters
from millpond.events.treasury_settlements import PaymentsStopped
from millpond.identity import Domain, load_keystore
from millpond.settings import ChainSettings, LivepeerSettings, PoolSettings, load
from millpond.stream import Received, Service
from millpond.stream.service import Observe
from millpond_treasury.rules import READS, State, Treasury, decide, fold, recall
from millpond_treasury.settings import TreasurySettings
from millpond_treasury.store import TreasuryStore
from millpond_treasury.wallet import Wallet

log = structlog.get_logger(__name__)


class NotTheOrchestratorsKey(MillpondError):
    """{path} holds the key of {found}, and the pool's orchestrator is {orchestrator}: only its own key withdraws its fees.
    Name the right file in MILLPOND_TREASURY_ORCHESTRATOR_KEYSTORE, or unset it."""


def build() -> Service[State]:
    """Raises ``SettingsInvalid``, a ``KeyUnavailable`` and ``NotTheOrchestratorsKey``."""
    pool, settings = load(PoolSettings), load(TreasurySettings)
    chain, livepeer = load(ChainSettings), load(LivepeerSettings)
    payer = Signer(load_keystore(settings.keystore, settings.password_file))
    orchestrator = _orchestrator(settings, livepeer.orchestrator, payer)
    wallet = Wallet(
        rpc_url=chain.rpc_url.get_secret_value(),
        chain_id=pool.chain_id,
        payer=payer,
        orchestrator=orchestrator,
        contract=chain.payouts,
        controller=livepeer.controller,
        fee_per_gas_max=settings.fee_per_gas_max,
        now_ms=lambda: time.time_ns() // 1_000_000,
    )
    return treasury(
        Treasury(
            domain=Domain(pool=pool.id, chain_id=pool.chain_id),
            operators=frozenset(pool.operators),
            address=payer.address,
            contract=chain.payouts,
            orchestrator=livepeer.orchestrator,
            withdraws=orchestrator is not None,
            orders_max=settings.orders_max,
            bump_after_ms=settings.bump_after_s * 1000,
            send_again_ms=settings.send_again_s * 1000,
        ),
        loudly(wallet.observe),
    )


def treasury(pool: Treasury, observe: Observe) -> Service[State]:
    return Service(
        name="treasury",
        shape="single_active",
        reads=READS,
        writes=(TREASURY_SETTLEMENTS,),
        dead_letters=deadletters("treasury"),
        decide=partial(decide, treasury=pool),
        store=TreasuryStore(),
        observe=observe,
        fold=partial(fold, treasury=pool),
        # What no output tells (who is ordered, what is final, terms and checkpoints) is taken in as it is read again.
        recall=partial(recall, treasury=pool),
    )


def loudly(observe: Observe) -> Observe:
    """An alarm is in the log of the process, too."""

    async def heard(received: Received) -> object:
        if isinstance(stopped := received.event, PaymentsStopped):
            log.critical("payments_stopped", slot=stopped.slot, reason=stopped.reason, why=stopped.sentence)
        return await observe(received)

    return heard


def _orchestrator(settings: TreasurySettings, orchestrator: str, payer: Signer) -> Signer | None:
    """The key that withdraws: its own, or the payout key where that is the orchestrator's."""
    path, password_file = settings.orchestrator_keystore, settings.orchestrator_password_file
    if path is None or password_file is None:
        return payer if payer.address == orchestrator else None
    signer = Signer(load_keystore(path, password_file))
    if signer.address != orchestrator:
        raise NotTheOrchestratorsKey(path=path, found=signer.address, orchestrator=orchestrator)
    return signer
