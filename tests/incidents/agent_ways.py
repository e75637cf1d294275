"""The way in for agents: the greeting, and each kind of claim."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from edge.agents.device import Device
from incidents.edge_world import BARRED_DEVICE, IDLE, OVERDUE, REMOVED, WORKER
from millpond.identity import DeviceKey

OUTPUT: Final = {"rendition": "240p", "blob": {"hash": "0x" + "b0" * 32, "size_bytes": 9}, "frames": 1, "pixels": 2}

# What a device says of each kind, besides its session, number and time; of an attempt, besides that.
CLAIMS: Final[Mapping[str, Mapping[str, Any]]] = {
    "Heartbeat": {"leaving": True},
    "JobStarted": {},
    "JobProgress": {"frames": 1},
    "JobSucceeded": {"outputs": [OUTPUT]},
    "JobFailed": {"reason": "crashed", "sentence": "It crashed."},
}


def payload(device: Device, kind: str) -> str:
    return device.payload(**CLAIMS[kind]) if kind == "Heartbeat" else device.attempt(**CLAIMS[kind])


def said(device: Device, kind: str) -> str:
    """A claim that counts, if the device does."""
    return device.signed(kind, payload(device, kind))


def _with(text: str, **changes: Any) -> str:
    return json.dumps({**json.loads(text), **changes})


def _elsewhere(device: Device) -> Device:
    """The same key and memory, in another pool."""
    other = Device(device.key, pool="puddle")
    other.session, other.sequence = device.session, device.sequence
    return other


# What an agent says that was let in as the worker. An expired or revoked one is met in mid-connection.
REFUSED_CLAIMS: Final[Mapping[str, Callable[[Device, str], str]]] = {
    "none": lambda device, kind: _with(said(device, kind), signature=""),
    "wrong: of nothing": lambda device, kind: _with(said(device, kind), signature="0x" + "00" * 64),
    "wrong: over another text": lambda device, kind: _with(said(device, kind), payload=payload(device, kind)),
    "wrong: over another kind": lambda device, kind: _with(device.signed("Hello", payload(device, kind)), type=kind),
    "wrong: for another pool": lambda device, kind: said(_elsewhere(device), kind),
    "foreign: another device's key": lambda device, kind: Device(IDLE).signed(kind, payload(device, kind)),
    "foreign: recorded from another device": lambda _, kind: said(Device(IDLE), kind),
    "foreign: recorded from another session of its own": lambda _, kind: said(Device(WORKER), kind),
}
# Who greets, and what is changed in the Hello.
REFUSED_GREETINGS: Final[Mapping[str, tuple[Device, Mapping[str, Any]]]] = {
    "none": (Device(WORKER), {"signature": ""}),
    "wrong: of nothing": (Device(WORKER), {"signature": "0x" + "00" * 64}),
    "wrong: for another pool": (Device(WORKER, pool="puddle"), {}),
    "expired": (Device(OVERDUE), {}),
    "revoked: the device": (Device(REMOVED), {}),
    "revoked: its contributor": (Device(BARRED_DEVICE), {}),
    "foreign: in another's name": (Device(IDLE), {"device": WORKER.device}),
    "foreign: nobody's device": (Device(DeviceKey(b"x" * 32)), {}),
}
