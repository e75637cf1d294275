"""What we know of Livepeer's contracts: names at the Controller, the events that tell of money, the hash of a ticket.

Sources: livepeer/protocol, ``contracts/``; the ABI beside this file is the part of the deployed one that is used here.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import files
from typing import Final, Literal

from eth_utils.address import to_canonical_address
from eth_utils.crypto import keccak

from millpond.chain.abi import Abi
from millpond.errors import MillpondError

LIVEPEER: Final = Abi(json.loads(files("millpond.chain").joinpath("livepeer.json").read_bytes()))

# By event, what its logs begin with on Arbitrum One: copied from there, and compared with what follows from the ABI. A
# misspelt signature would make a filter that matches nothing, and a quiet chain (incident 48).
TOPICS: Final = {
    "WinningTicketTransfer": "0x8b87351a208c06e3ceee59d80725fd77a23b4129e1b51ca231fc89b40712649c",
    "WinningTicketRedeemed": "0xc389eb51ed006dbf2528507f010efdf5225ea596e1e1741d74f550dab1925ee7",
    "Reward": "0x619caafabdd75649b302ba8419e48cccf64f37f1983ac4727cfb38b57703ffc9",
    "TranscoderUpdate": "0x7346854431dbb3eb8e373c604abf89e90f4865b8447e1e2834d7b3e4677bf544",
    "WithdrawFees": "0x4f1b51dd7a2fcb861aa2670f668be66835c4ee12b4bbbf037e4d0018f39819e4",
    "NewRound": "0x22f2fc17c5daf07db2379b3a03a8ef20a183f761097a58fce219c8a14619e786",
    "SetContractInfo": "0xf9a6cf519167d81bc5cb3d26c60c0c9a19704aa908c148e82a861b570f4cd2d7",
}

ContractName = Literal["TicketBroker", "BondingManager", "RoundsManager"]
# Proxies: their code is another contract, which the Controller knows under this name. RoundsManager's says only a number.
TARGETS: Final = ("TicketBrokerTarget", "BondingManagerTarget")


class AbiDiffers(MillpondError):
    """The ABI gives {event} the topic {found}; on the chain it is {expected}. The ABI was changed by mistake: restore it."""


def contract_id(name: str) -> str:
    """Under which the Controller knows a contract."""
    return "0x" + keccak(name.encode()).hex()


def check_topics(abi: Abi = LIVEPEER) -> None:
    """Raises ``AbiDiffers`` unless every event has the topic that it has on the chain."""
    for event, expected in TOPICS.items():
        if (found := abi.topics.get(event)) != expected:
            raise AbiDiffers(event=event, found=found, expected=expected)


@dataclass(frozen=True)
class Ticket:
    """A promise that pays if it wins. ``face_value`` in wei; ``winning_probability`` of 2^256; ``aux_data`` is 64 bytes."""

    recipient: str
    sender: str
    face_value: int
    winning_probability: int
    sender_nonce: int
    recipient_random_hash: bytes
    aux_data: bytes

    def hash(self) -> bytes:
        """What the sender signs, and the broker takes once. All of it is in the log of its redemption."""
        return keccak(
            to_canonical_address(self.recipient)
            + to_canonical_address(self.sender)
            + self.face_value.to_bytes(32, "big")
            + self.winning_probability.to_bytes(32, "big")
            + self.sender_nonce.to_bytes(32, "big")
            + self.recipient_random_hash
            + self.aux_data
        )


def random_hash(recipient_random: int) -> bytes:
    """What a recipient commits to before it knows whether a ticket wins."""
    return keccak(recipient_random.to_bytes(32, "big"))
