"""The command ``millpond``."""

from __future__ import annotations

import logging
from typing import Final

import typer

from millpond_cli.lazy import Lazy, lazy_group

COMMANDS: Final = {
    "stack": Lazy(
        "millpond_cli.stack:stack",
        "Kafka, PostgreSQL and anvil on free ports, until Ctrl-C; what dies is started again.",
    ),
    "settings": Lazy(
        "millpond_cli.settings:settings",
        "List every MILLPOND_* variable, its meaning and its value; fails if one is invalid or unknown.",
    ),
    "topics": Lazy("millpond_cli.topic_commands:topics", "The pool's topics on Kafka."),
    "rebuild": Lazy(
        "millpond_cli.recovery:rebuild",
        "Make a service's database anew from what it has published; the old one is renamed and kept.",
    ),
    "terms": Lazy("millpond_cli.terms:terms", "What the pool offers, version by version."),
    "gateway": Lazy("millpond_cli.members:gateway", "Who may send jobs."),
    "contributor": Lazy("millpond_cli.members:contributor", "Who may lend GPUs."),
    "epoch": Lazy("millpond_cli.epochs:epoch", "What is owed to whom, epoch by epoch; and an epoch's end."),
    "fees": Lazy("millpond_cli.fees:fees", "The orchestrator's claimable fees."),
    "audit": Lazy(
        "millpond_cli.audit.command:audit",
        "Compute every wei again from the topics; exits with 1 at the first difference, and says what is behind it.",
    ),
    "export": Lazy(
        "millpond_cli.audit.command:export",
        "Write all that the audit of an epoch needs into files, and a proof for each contributor.",
    ),
    "deadletters": Lazy("millpond_cli.deadletters:deadletters", "Records that a service could not decide."),
    "database": Lazy("millpond_cli.database:database", "A role and a schema for each service."),
    "generate": Lazy(
        "millpond_cli.generate:generate", "Write the brokers' ACLs and the AsyncAPI document from the topic table."
    ),
    "send": Lazy(
        "millpond_cli.gateway.command:send",
        "Send a video through the pool: into segments, to the GPUs, and joined into playable files.",
    ),
    "agent": Lazy("millpond_agent.commands:agent", "Lend this machine's GPUs to a pool."),
    "receipt": Lazy("millpond_cli.receipt:receipt", "What the pool has countersigned."),
    "payouts": Lazy(
        "millpond_cli.payouts:payouts", "What a contributor has earned, and how he is paid: from the pool's own feed."
    ),
    "delegate": Lazy(
        "millpond_cli.delegate:delegate",
        "Print a delegation for a device, signed by the wallet: `millpond agent join URL --delegation FILE` takes it.",
    ),
    "revoke": Lazy("millpond_cli.delegate:revoke", "Take a device's rights away, at once and for ever."),
    "leave": Lazy(
        "millpond_cli.delegate:leave", "Leave the pool: all devices finish what they run, and get nothing new."
    ),
}

app = typer.Typer(no_args_is_help=True, add_completion=False, cls=lazy_group(COMMANDS))


@app.callback()
def _root() -> None:
    """Run a Livepeer orchestrator pool on other people's GPUs."""


def main() -> None:
    # Our errors say what aiokafka found; without a handler its warnings would reach the terminal beside them.
    logging.getLogger("aiokafka").addHandler(logging.NullHandler())
    app()
