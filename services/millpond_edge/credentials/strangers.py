"""Who shows no credential is counted by where he comes from."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address
from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

from millpond_edge.door import OpenDoor

# One customer of a network has this much of it: a bucket for each of 2**64 addresses would bound nothing.
IPV6_PREFIX_BITS = 64


def counted_stranger(connection: HTTPConnection, door: OpenDoor) -> None:
    """Raises ``RateExceeded``. The address is what our own proxy last said, never what a header claims by itself."""
    door.strangers.take(origin_of(connection.client.host if connection.client else ""))


Stranger = Annotated[None, Depends(counted_stranger)]


def origin_of(host: str) -> str:
    """An IPv4 address as it is, the network of an IPv6 one."""
    try:
        address = ip_address(host)
    except ValueError:
        return host
    if not isinstance(address, IPv6Address):
        return host
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return f"{IPv6Address(int(address) >> (128 - IPV6_PREFIX_BITS) << (128 - IPV6_PREFIX_BITS))}/{IPV6_PREFIX_BITS}"
