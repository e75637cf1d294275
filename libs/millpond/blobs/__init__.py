"""Bytes under the name of their content: what goes into jobs and what comes out of them."""

from millpond.blobs.errors import BlobMissing, BlobStoreFailed, BlobTooLarge, HashDiffers
from millpond.blobs.store import BlobStore, OpenBlob

__all__ = ["BlobMissing", "BlobStore", "BlobStoreFailed", "BlobTooLarge", "HashDiffers", "OpenBlob"]
