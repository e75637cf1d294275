"""What can go wrong with a blob. After any of these the store holds exactly what it held before."""

from __future__ import annotations

from millpond.errors import MillpondError


class BlobMissing(MillpondError):
    """The blob {hash} is not in the store. Store it first; its name is 0x and the SHA-256 of its bytes in lower-case hex."""


class HashDiffers(MillpondError):
    """The name says {hash}, but the SHA-256 of the bytes is {found}. Nothing was stored; send the bytes that belong to it."""


class BlobTooLarge(MillpondError):
    """There are more than {allowed} bytes, the most that are allowed here. Nothing was stored; send less."""


class BlobStoreFailed(MillpondError):
    """The blob store could not {what}: {cause}. Look at its disk or bucket; then try again."""
