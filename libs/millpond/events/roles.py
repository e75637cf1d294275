"""Who has an identity of his own on Kafka. Every topic belongs to one of these roles, or to one gateway."""

from __future__ import annotations

# The programs of the pool that have an identity of their own on Kafka, in the order in which a job meets them.
SERVICES = (
    "edge",
    "registry",
    "scheduler",
    "inspector",
    "metering",
    "bridge",
    "chain_watcher",
    "rewards",
    "treasury",
)
# Whoever holds the operator's wallet, at a command line or in a browser.
OPERATOR = "operator"
# They read everything and decide nothing, so no row names them.
READS_ALL = ("audit", "portal")
