"""Who is in, and what is offered: taken up as the registry and rewards say it. Nothing is published here."""

from __future__ import annotations

from dataclasses import replace

from millpond.events.event import Event
from millpond.events.pool_terms import TermsPublished
from millpond.events.registry_gateways import GatewayAdmitted, GatewaySuspended
from millpond.events.registry_gpus import (
    GpuDraining,
    GpuGone,
    GpuOnline,
    GpuRefused,
    GpuSuspect,
    LivenessPaused,
    LivenessResumed,
)
from millpond.events.registry_members import (
    ContributorAdmitted,
    ContributorDraining,
    ContributorLeft,
    ContributorSuspended,
    DeviceRegistered,
    DeviceRemoved,
)
from millpond.events.rewards_epochs import EpochClosing
from millpond.terms.terms import Terms
from millpond_scheduler.rules.board import Board
from millpond_scheduler.rules.facts import Attempt, Device, Gpu, Offer, milliseconds


def take_up(board: Board, event: Event) -> None:
    """What was said about the pool's members, GPUs, gateways, terms and epochs; all else is passed over."""
    match event:
        case GpuOnline() | GpuSuspect() | GpuDraining() | GpuGone() | GpuRefused():
            _gpu(board, event)
        case LivenessPaused():
            _pause(board, milliseconds(event.as_of))
        case LivenessResumed():
            _forgive(board, milliseconds(event.as_of))
            _pause(board, None)
        case DeviceRegistered() | DeviceRemoved():
            _device(board, event)
        case ContributorAdmitted() | ContributorSuspended() | ContributorDraining() | ContributorLeft():
            _contributor(board, event)
        case GatewayAdmitted() | GatewaySuspended():
            board.gateways[event.gateway] = isinstance(event, GatewayAdmitted)
            board.changes.gateways.add(event.gateway)
        case TermsPublished():
            terms = Terms.model_validate_json(event.document)
            board.offers[event.terms_hash] = Offer(event.version, event.effective_from_epoch, event.terms_hash, terms)
            board.changes.offers.add(event.terms_hash)
        case EpochClosing():
            # From the tick at which an epoch closes the next one runs.
            board.counts.epoch = max(board.counts.epoch, event.epoch + 1)
            board.changes.counts = True


def _gpu(board: Board, event: GpuOnline | GpuSuspect | GpuDraining | GpuGone | GpuRefused) -> None:
    match event:
        case GpuOnline(hardware=hardware):
            gpu = Gpu(
                event.gpu, hardware.hardware_id, event.device, event.contributor, hardware.slots, hardware.workloads
            )
            board.put_gpu(gpu)
        case GpuSuspect() | GpuDraining() if event.gpu in board.gpus:
            board.put_gpu(replace(board.gpus[event.gpu], online=False))
        case GpuGone() | GpuRefused():
            if event.gpu in board.gpus:
                board.drop_gpu(board.gpus[event.gpu])
            # Its attempts are lost at the next tick, that is when its last words have been read, should there be any.
            for attempt in begun_before(board, event.gpu, milliseconds(event.as_of)):
                board.put_attempt(replace(attempt, gone=True))


def begun_before(board: Board, gpu: str, time_ms: int) -> list[Attempt]:
    """The open attempts on a GPU, but for those that came after what is said of it: after a rebuild it may be old news."""
    attempts = [board.attempts[job] for job in sorted(board.running.get(gpu, ()))]
    return [attempt for attempt in attempts if attempt.assigned_ms <= time_ms]


def _pause(board: Board, since_ms: int | None) -> None:
    board.counts.paused_ms = since_ms
    board.changes.counts = True


def _forgive(board: Board, as_of_ms: int) -> None:
    """Silence counts from now on: an open attempt has a lease as if it had just shown a sign of life.

    Once; until it has shown one, further outages only don't count. Else a door that keeps falling shut would keep the
    jobs of dead machines for ever.
    """
    outage_ms = as_of_ms - (as_of_ms if board.counts.paused_ms is None else board.counts.paused_ms)
    for attempt in list(board.attempts.values()):
        until_ms = attempt.lease_until_ms + outage_ms if attempt.forgiven else as_of_ms + attempt.lease_ms
        until_ms = max(attempt.lease_until_ms, min(until_ms, board.jobs[attempt.job].deadline_ms))
        board.put_attempt(replace(attempt, lease_until_ms=until_ms, forgiven=True))


def _device(board: Board, event: DeviceRegistered | DeviceRemoved) -> None:
    known = board.devices.get(event.device)
    if isinstance(event, DeviceRegistered):
        board.devices[event.device] = Device(event.contributor, event.delegation, milliseconds(event.expires_at))
    elif known is None or known.contributor != event.contributor:
        # A device that has gone over to another contributor is no longer its old one's to lose.
        return
    else:
        del board.devices[event.device]
    board.changes.devices.add(event.device)
    for gpu in sorted(board.gpus_of.get(event.device, ())):
        board.rerank(gpu)


def _contributor(
    board: Board, event: ContributorAdmitted | ContributorSuspended | ContributorDraining | ContributorLeft
) -> None:
    barred = isinstance(event, ContributorSuspended | ContributorDraining)
    if barred == (event.contributor in board.barred):
        return
    # Who has left has no devices any more, and comes back in by an admission.
    (board.barred.add if barred else board.barred.discard)(event.contributor)
    board.changes.barred.add(event.contributor)
    for gpu in [gpu.id for gpu in board.gpus.values() if gpu.contributor == event.contributor]:
        board.rerank(gpu)
