"""Why a request about blobs or jobs is refused."""

from __future__ import annotations

from millpond_edge.errors import Refusal


class NoSuchJob(Refusal):
    """There is no job {job} of the gateway {gateway}. The id is the one that POST /jobs answered."""

    status = 404
    reason = "no-such-job"


class RequestDiffers(Refusal):
    """The id {request_id} already stands for another request of the gateway {gateway}: {field} was {before} and is {now}.
    The first counts. Choose a new id for another job."""

    status = 409
    reason = "request-differs"


class SourceMissing(Refusal):
    """spec.source.hash is {hash}, which is not in the store. PUT /blobs/{hash} first, then post the job again."""

    status = 409
    reason = "source-missing"


class SourceSizeDiffers(Refusal):
    """spec.source.size_bytes is {given}, but the blob {hash} has {stored} bytes. Send its real size."""

    status = 400
    reason = "source-size-differs"


class NoSuchBlob(Refusal):
    """The blob {hash} is not in the store. A blob's name is 0x and the SHA-256 of its bytes in lower-case hex."""

    status = 404
    reason = "no-such-blob"


class HashMismatch(Refusal):
    """The path says {hash}, but the SHA-256 of the body is {found}. Nothing was stored; send the bytes that belong to it."""

    status = 400
    reason = "hash-mismatch"


class BlobTooLarge(Refusal):
    """The body has more than {allowed} bytes, the most that a blob may have. Nothing was stored; send shorter segments."""

    status = 413
    reason = "too-large"


class BodyBrokeOff(Refusal):
    """The connection ended before the body did. Nothing was stored; send it again."""

    status = 400
    reason = "body-broke-off"


class NotItsInput(Refusal):
    """The blob {hash} is not the input of a job that is assigned to the device {device} now.
    Fetch an input while its attempt is open; a closed attempt's is no longer needed.
    """

    status = 403
    reason = "not-its-input"


class NothingAssigned(Refusal):
    """No job is assigned to the device {device} now, so there are no outputs to be stored.
    Store outputs while their attempt is open.
    """

    status = 403
    reason = "nothing-assigned"
