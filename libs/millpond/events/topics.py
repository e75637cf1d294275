"""The topic table: every topic of the pool, who writes it, who reads it, and what can never change about it.

Keys, counts of partitions and retentions are fixed for ever, so a topic stands here before its first event exists.
Topic creation, ACLs and the AsyncAPI document are generated from this table; nothing else knows a topic's name.
A gateway's own topics are made by ``gateway_requests``, since the table can't know which gateways there will be.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from types import MappingProxyType

from millpond.errors import MillpondError
from millpond.events.agent_claims import Heartbeat, JobFailed, JobProgress, JobStarted, JobSucceeded
from millpond.events.agent_enrolments import DeviceDelegated, DeviceRevoked, LeaveAsked, SignedIn
from millpond.events.chain_revenue import (
    ClaimableSnapshot,
    CutsChanged,
    FeesWithdrawn,
    IncomeReconciled,
    IncomeUnexplained,
    RewardMinted,
    RoundStarted,
    TicketRedeemed,
)
from millpond.events.chain_transfers import PayeeUnpaid, SlotFilled, TreasuryTransaction
from millpond.events.deadletters import DeadLettered, ReAdmitted, Resumed, Skipped, Stopped
from millpond.events.gateway_jobs import CancelAsked, JobAsked, JobCancelled, JobRequested
from millpond.events.inspector_observations import OutputObserved, OutputUnavailable, OutputUnreadable
from millpond.events.metering_usage import UsageHeld, UsageRecorded, Watermark
from millpond.events.operator_commands import OperatorCommanded
from millpond.events.pool_terms import TermsPublished
from millpond.events.registry_capacity import CapacityChanged
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
    ContributorWaits,
    DeviceRefused,
    DeviceRegistered,
    DeviceRemoved,
)
from millpond.events.rewards_epochs import (
    Checkpoint,
    CloseRefused,
    EpochClosed,
    EpochClosing,
    EpochEnding,
    EpochWaits,
    PayoutsReleased,
)
from millpond.events.rewards_payouts import PayoutOrdered, PayoutWithdrawn
from millpond.events.rewards_statements import StatementIssued
from millpond.events.roles import OPERATOR, SERVICES
from millpond.events.scheduler_assignments import (
    AttemptClosed,
    JobAccepted,
    JobAssigned,
    JobFinished,
    JobGivenUp,
    JobRefused,
)
from millpond.events.scheduler_reads import ReadUpTo
from millpond.events.topic import Topic, Written
from millpond.events.treasury_settlements import (
    FeesWithdrawalAsked,
    FeesWithdrawalBroadcast,
    FeesWithdrawalRefused,
    FeesWithdrawalSigned,
    FloatAsked,
    PaymentsStopped,
    PayoutHeld,
    PayoutSettled,
    SlotBroadcast,
    SlotPlanned,
    SlotSigned,
    SlotSigningAsked,
)

# Joins by partition need the same count on both sides, so whatever is keyed by job has this many.
JOB_PARTITIONS = 12
# Contributors, devices, GPUs: enough for the consumers of a big pool, few enough for a laptop.
ENTITY_PARTITIONS = 6
# What is in one order for the whole pool; read by every instance, since few records pass.
CONTROL_PARTITIONS = 1

# Marked with a dagger in the design: what a dispute could still ask for, and nobody can dispute later than that.
DISPUTE_WINDOW = timedelta(days=90)
# Bank details leave the log; treasury has taken them long before.
SEALED_RETENTION = timedelta(days=7)

# A stranger's request is a description of a job, never the job's data.
GATEWAY_REQUEST_BYTES_MAX = 262_144
# A dead letter holds another record's key, value and headers in base64 (4/3 of the largest) and the story around it.
DEAD_LETTER_BYTES_MAX = 2_097_152


class UnknownService(MillpondError):
    """No service {service!r} reads a topic; there are {services}."""


class InvalidGatewayId(MillpondError):
    """The gateway id {gateway_id!r} can't be part of a topic's name: 1 to 64 of a-z, 0-9 and -, not - first."""


_item = partial(Topic, written=Written.BY_SOURCE)
# Money, or who is in, depends on the item: a repeat a year later must still be known as one.
_item_kept = partial(_item, items_kept=True)

POOL_TERMS = Topic(
    "pool.terms.v1",
    "pool",
    CONTROL_PARTITIONS,
    "registry",
    tuple(service for service in SERVICES if service != "registry"),
    "stop",
    events=(TermsPublished,),
)

# edge both carries a gateway's HTTP request (a source) and decides about its Kafka record (a process). Either way the
# item is (gateway, its own id), the same whichever door it came through: that identity, not a number, stops a repeat.
GATEWAY_JOBS = _item_kept(
    "gateway.jobs.v1",
    "job",
    JOB_PARTITIONS,
    "edge",
    ("scheduler",),
    "stop",
    events=(
        JobRequested,
        JobCancelled,
    ),
)

AGENT_ENROLMENTS = _item_kept(
    "agent.enrolments.v1",
    "contributor",
    ENTITY_PARTITIONS,
    "edge",
    ("registry",),
    "stop",
    events=(
        SignedIn,
        DeviceDelegated,
        DeviceRevoked,
        LeaveAsked,
    ),
)
AGENT_HEARTBEATS = _item(
    "agent.heartbeats.v1",
    "device",
    ENTITY_PARTITIONS,
    "edge",
    ("registry", "scheduler"),
    "aside",
    retention=DISPUTE_WINDOW,
    events=(Heartbeat,),
)
AGENT_PROGRESS = _item(
    "agent.progress.v1",
    "job",
    JOB_PARTITIONS,
    "edge",
    ("scheduler",),
    "aside",
    retention=DISPUTE_WINDOW,
    events=(JobProgress,),
)
AGENT_RESULTS = _item_kept(
    "agent.results.v1",
    "job",
    JOB_PARTITIONS,
    "edge",
    ("scheduler", "metering", "inspector"),
    "stop",
    events=(
        JobStarted,
        JobSucceeded,
        JobFailed,
    ),
)

# Every service can have a stopped partition, which only a signed skip releases: so every service decides on commands.
# The item is (signer, nonce).
OPERATOR_COMMANDS = _item_kept(
    "operator.commands.v1", "subject", ENTITY_PARTITIONS, OPERATOR, SERVICES, "aside", events=(OperatorCommanded,)
)

REGISTRY_MEMBERS = Topic(
    "registry.members.v1",
    "contributor",
    ENTITY_PARTITIONS,
    "registry",
    ("scheduler", "metering", "rewards", "treasury", "edge"),
    "stop",
    events=(
        ContributorWaits,
        ContributorAdmitted,
        ContributorSuspended,
        ContributorDraining,
        ContributorLeft,
        DeviceRegistered,
        DeviceRefused,
        DeviceRemoved,
    ),
)
REGISTRY_GATEWAYS = Topic(
    "registry.gateways.v1",
    "gateway",
    CONTROL_PARTITIONS,
    "registry",
    ("edge", "scheduler", "rewards"),
    "stop",
    events=(
        GatewayAdmitted,
        GatewaySuspended,
    ),
)
REGISTRY_GPUS = Topic(
    "registry.gpus.v1",
    "gpu",
    ENTITY_PARTITIONS,
    "registry",
    ("scheduler", "metering", "rewards"),
    "stop",
    events=(
        GpuOnline,
        GpuSuspect,
        GpuDraining,
        GpuGone,
        GpuRefused,
        LivenessPaused,
        LivenessResumed,
    ),
)
REGISTRY_CAPACITY = Topic(
    "registry.capacity.v1",
    "capability",
    ENTITY_PARTITIONS,
    "registry",
    ("edge", "bridge"),
    "aside",
    events=(CapacityChanged,),
)

SCHEDULER_ASSIGNMENTS = Topic(
    "scheduler.assignments.v1",
    "job",
    JOB_PARTITIONS,
    "scheduler",
    ("metering", "edge", "bridge"),
    "stop",
    events=(
        JobAccepted,
        JobAssigned,
        AttemptClosed,
        JobFinished,
        JobRefused,
        JobGivenUp,
    ),
)
SCHEDULER_READS = Topic(
    "scheduler.reads.v1",
    "scheduler",
    CONTROL_PARTITIONS,
    "scheduler",
    (),
    "aside",
    retention=DISPUTE_WINDOW,
    events=(ReadUpTo,),
)
SCHEDULER_STANDINGS = Topic("scheduler.standings.v1", "gpu", ENTITY_PARTITIONS, "scheduler", ("edge",), "aside")

# Decoding is I/O, but one answer per output is a promise: a process, numbered by its outbox.
INSPECTOR_OBSERVATIONS = Topic(
    "inspector.observations.v1",
    "job",
    JOB_PARTITIONS,
    "inspector",
    ("metering",),
    "stop",
    events=(
        OutputObserved,
        OutputUnreadable,
        OutputUnavailable,
    ),
)

METERING_USAGE = Topic(
    "metering.usage.v1",
    "contributor",
    ENTITY_PARTITIONS,
    "metering",
    ("rewards", "edge", "scheduler"),
    "stop",
    events=(
        UsageRecorded,
        UsageHeld,
        Watermark,
    ),
)
METERING_CHALLENGES = Topic(
    "metering.challenges.v1", "epoch", CONTROL_PARTITIONS, "metering", ("inspector", "scheduler", "registry"), "stop"
)

# What go-livepeer told the bridge; the item is the ticket: (sender, recipient's random hash, sender's nonce).
BRIDGE_PAYMENTS = _item_kept("bridge.payments.v1", "job", JOB_PARTITIONS, "bridge", ("metering",), "stop")

# The items of the chain: (chain, block hash, log index or transaction), each for observed, final and orphaned; of prices
# (pair, source, block). They are remembered for ever: the same deposit seen twice would be paid out twice.
CHAIN_REVENUE = _item_kept(
    "chain.revenue.v1",
    "orchestrator",
    CONTROL_PARTITIONS,
    "chain_watcher",
    ("rewards", "scheduler", "treasury"),
    "stop",
    events=(
        TicketRedeemed,
        RewardMinted,
        CutsChanged,
        RoundStarted,
        FeesWithdrawn,
        ClaimableSnapshot,
        IncomeReconciled,
        IncomeUnexplained,
    ),
)
CHAIN_TRANSFERS = _item_kept(
    "chain.transfers.v1",
    "slot",
    CONTROL_PARTITIONS,
    "chain_watcher",
    ("treasury", "rewards"),
    "stop",
    events=(SlotFilled, PayeeUnpaid, TreasuryTransaction),
)
CHAIN_PRICES = _item_kept("chain.prices.v1", "pair", CONTROL_PARTITIONS, "chain_watcher", ("rewards",), "stop")

# rewards reads back that an epoch is ending: it looks then, before it decides, where the logs end that it doesn't read.
REWARDS_EPOCHS = Topic(
    "rewards.epochs.v1",
    "pool",
    CONTROL_PARTITIONS,
    "rewards",
    ("metering", "registry", "scheduler", "treasury", "rewards"),
    "stop",
    events=(
        EpochEnding,
        CloseRefused,
        EpochClosing,
        EpochWaits,
        EpochClosed,
        Checkpoint,
        PayoutsReleased,
    ),
)
REWARDS_STATEMENTS = Topic(
    "rewards.statements.v1",
    "contributor",
    ENTITY_PARTITIONS,
    "rewards",
    ("edge",),
    "stop",
    events=(StatementIssued,),
)
REWARDS_PAYOUTS = Topic(
    "rewards.payouts.v1",
    "contributor",
    ENTITY_PARTITIONS,
    "rewards",
    ("treasury", "edge"),
    "stop",
    events=(
        PayoutOrdered,
        PayoutWithdrawn,
    ),
)

# treasury reads its own topic: it broadcasts what it reads as signed, so nothing leaves that is not on the log.
TREASURY_SETTLEMENTS = Topic(
    "treasury.settlements.v1",
    "slot or payout",
    CONTROL_PARTITIONS,
    "treasury",
    ("rewards", "edge", "chain_watcher", "treasury"),
    "stop",
    events=(
        SlotPlanned,
        SlotSigned,
        SlotBroadcast,
        PayoutHeld,
        FeesWithdrawalSigned,
        FeesWithdrawalBroadcast,
        FeesWithdrawalRefused,
        FloatAsked,
        SlotSigningAsked,
        PayoutSettled,
        PaymentsStopped,
        FeesWithdrawalAsked,
    ),
)

# Items aren't kept: a signed preference names the details by salted hash, so a repeat or another text changes nothing.
CONTRIBUTOR_SEALED = _item(
    "contributor.sealed.v1",
    "contributor",
    ENTITY_PARTITIONS,
    "edge",
    ("treasury",),
    "aside",
    retention=SEALED_RETENTION,
)
CONTRIBUTOR_DISPUTES = _item_kept(
    "contributor.disputes.v1", "contributor", ENTITY_PARTITIONS, "edge", ("metering", "rewards"), "stop"
)
REWARDS_VERDICTS = Topic(
    "rewards.verdicts.v1", "contributor", ENTITY_PARTITIONS, "rewards", ("metering", "edge"), "stop"
)


def gateway_requests(gateway_id: str) -> Topic:
    """The topic on which one external gateway asks for work; only it may write there.

    Raises InvalidGatewayId for an id that would not stay one word of the name.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,63}", gateway_id):
        raise InvalidGatewayId(gateway_id=gateway_id)
    return Topic(
        f"gateway.{gateway_id}.requests.v1",
        "any",
        JOB_PARTITIONS,
        f"gateway-{gateway_id}",
        ("edge",),
        "aside",
        Written.BY_ANYONE,
        value_bytes_max=GATEWAY_REQUEST_BYTES_MAX,
        events=(JobAsked, CancelAsked),
    )


_DATASETS = (
    POOL_TERMS,
    GATEWAY_JOBS,
    AGENT_ENROLMENTS,
    AGENT_HEARTBEATS,
    AGENT_PROGRESS,
    AGENT_RESULTS,
    OPERATOR_COMMANDS,
    REGISTRY_MEMBERS,
    REGISTRY_GATEWAYS,
    REGISTRY_GPUS,
    REGISTRY_CAPACITY,
    SCHEDULER_ASSIGNMENTS,
    SCHEDULER_READS,
    SCHEDULER_STANDINGS,
    INSPECTOR_OBSERVATIONS,
    METERING_USAGE,
    METERING_CHALLENGES,
    BRIDGE_PAYMENTS,
    CHAIN_REVENUE,
    CHAIN_TRANSFERS,
    CHAIN_PRICES,
    REWARDS_EPOCHS,
    REWARDS_STATEMENTS,
    REWARDS_PAYOUTS,
    TREASURY_SETTLEMENTS,
    CONTRIBUTOR_SEALED,
    CONTRIBUTOR_DISPUTES,
    REWARDS_VERDICTS,
)


def deadletters(service: str) -> Topic:
    """Where a service keeps what it could not read: as many partitions as its largest input, kept for ever.

    Raises UnknownService for a role that has no inputs in the table.
    """
    inputs = [topic.partitions for topic in _DATASETS if service in topic.readers]
    if service not in SERVICES or not inputs:
        raise UnknownService(service=service, services=", ".join(SERVICES))
    # No poison rule: a service reads only its own, and can't set aside what is already aside.
    return Topic(
        f"{service}.deadletters.v1",
        "as the original",
        max(inputs),
        service,
        (service,),
        poison=None,
        value_bytes_max=DEAD_LETTER_BYTES_MAX,
        events=(DeadLettered, Stopped, Resumed, Skipped, ReAdmitted),
    )


TOPICS: Mapping[str, Topic] = MappingProxyType(
    {topic.name: topic for topic in (*_DATASETS, *(deadletters(service) for service in SERVICES))}
)
