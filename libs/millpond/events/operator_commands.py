"""``operator.commands.v1``: what the operator signed. Key: the subject, such as a service or a contributor."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field, StrictInt, StrictStr, StringConstraints

from millpond.events.event import Event
from millpond.events.fields import Address, Hex

# An action is read by a person in his wallet's window before he signs it.
MESSAGE_FIELDS_MAX: Final = 32
ACTION_CHARACTERS_MAX: Final = 64
# 65 bytes from a key; a contract's wallet (ERC-1271) needs more, since its owners sign one after the other.
SIGNATURE_CHARACTERS_MAX: Final = 2 + 2 * 4_096

ActionName = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Za-z0-9]*$", max_length=ACTION_CHARACTERS_MAX)]


class OperatorCommanded(Event):
    """A signed EIP-712 action, carried as it was signed; the service that decides on it verifies it, and the audit again.

    ``action`` is the primary type, ``message`` its fields; ``nonce`` is one of them, higher than the last of that
    signer, topic and key. Only the signature says that it is the operator's: anyone's bytes may have this form.
    """

    signer: Address
    action: ActionName
    message: Annotated[dict[str, StrictInt | StrictStr], Field(max_length=MESSAGE_FIELDS_MAX)]
    signature: Annotated[Hex, StringConstraints(max_length=SIGNATURE_CHARACTERS_MAX)]


def command_item(key: str, command: OperatorCommanded) -> str:
    """What the header ``item`` says. The record's key is part of it, since nonces only rise per signer and key."""
    return f"{command.signer}/{key}/{command.action}/{command.message.get('nonce')}"
