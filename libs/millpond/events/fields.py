"""The types of events' fields whose JSON must have exactly one spelling: money, times, hashes, addresses, raw bytes.

One spelling, since money depends on content, and content is bytes: the same fact must not come in two forms.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from pydantic import GetJsonSchemaHandler, StringConstraints
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

# More than 2**256 has (78), so that sums of anything on a chain fit; less than what makes int() slow or refuse.
AMOUNT_DIGITS_MAX: Final = 100


class _DecimalString:
    """A Python ``int`` that is a decimal string in JSON: a JSON number may have passed through somebody's float."""

    def __init__(self, *, signed: bool) -> None:
        digits = rf"(0|[1-9][0-9]{{0,{AMOUNT_DIGITS_MAX - 1}}})"
        positive = rf"[1-9][0-9]{{0,{AMOUNT_DIGITS_MAX - 1}}}"
        self.pattern = rf"^(0|-?{positive})$" if signed else rf"^{digits}$"
        self._bound = 10**AMOUNT_DIGITS_MAX - 1
        self._least = -self._bound if signed else 0

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> CoreSchema:
        text = core_schema.str_schema(pattern=self.pattern, strict=True)
        return core_schema.json_or_python_schema(
            json_schema=core_schema.no_info_after_validator_function(int, text),
            # Strict: bool is no amount, nor is 1.0.
            python_schema=core_schema.int_schema(strict=True, ge=self._least, le=self._bound),
            serialization=core_schema.plain_serializer_function_ser_schema(
                str, return_schema=core_schema.str_schema(), when_used="json"
            ),
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": "string", "pattern": self.pattern}


class _Milliseconds:
    """An aware ``datetime`` in UTC with whole milliseconds; in JSON always ``2026-01-02T03:04:05.678Z``."""

    pattern: Final = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z$"

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> CoreSchema:
        text = core_schema.str_schema(strict=True)
        return core_schema.json_or_python_schema(
            json_schema=core_schema.no_info_after_validator_function(_from_text, text),
            python_schema=core_schema.no_info_after_validator_function(
                _whole_milliseconds, core_schema.datetime_schema(strict=True)
            ),
            serialization=core_schema.plain_serializer_function_ser_schema(
                to_rfc3339, return_schema=core_schema.str_schema(), when_used="json"
            ),
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": "string", "format": "date-time", "pattern": self.pattern}


_INSTANT: Final = re.compile(_Milliseconds.pattern)


def to_rfc3339(time: datetime) -> str:
    """An aware time as events spell it: UTC, three decimals, ``Z``. Digits behind the milliseconds are cut off."""
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _from_text(text: str) -> datetime:
    # fromisoformat alone would take a week date or another offset: other spellings of the same time.
    if not _INSTANT.fullmatch(text):
        raise ValueError("a time is UTC with three decimals, such as 2026-01-02T03:04:05.678Z")
    return datetime.fromisoformat(text)


def _whole_milliseconds(time: datetime) -> datetime:
    if time.tzinfo is None:
        raise ValueError("a time needs its zone: datetime.now(tz=UTC), not datetime.now()")
    if time.microsecond % 1000:
        raise ValueError("a time has whole milliseconds: what would be cut off in JSON must not be there before")
    return time.astimezone(UTC)


# In the asset's smallest unit (wei for ETH), >= 0.
Amount = Annotated[int, _DecimalString(signed=False)]
# The same with a sign: an adjustment, a posting, a balance.
SignedAmount = Annotated[int, _DecimalString(signed=True)]
Instant = Annotated[datetime, _Milliseconds()]

# 20 bytes. Whether the checksum (EIP-55) is right is for whoever believes the address to check.
Address = Annotated[str, StringConstraints(strict=True, pattern=r"^0x[0-9a-fA-F]{40}$")]
Hash32 = Annotated[str, StringConstraints(strict=True, pattern=r"^0x[0-9a-f]{64}$")]
Hex = Annotated[str, StringConstraints(strict=True, pattern=r"^0x([0-9a-f]{2})*$")]
Base64 = Annotated[
    str,
    StringConstraints(strict=True, pattern=r"^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"),
]
