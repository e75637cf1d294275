"""Nothing of web3's gets out untranslated, also not what a later version adds."""

from __future__ import annotations

import aiohttp
import pytest
import web3.exceptions as foreign

from millpond.chain.errors import (
    BAD_ANSWER,
    LET_THROUGH,
    NO_ANSWER,
    NOT_IN_ABI,
    REVERTED,
    BadAnswer,
    ChainError,
    NoAnswer,
    translated,
)

TRANSLATED = (*NO_ANSWER, *BAD_ANSWER, *NOT_IN_ABI, *REVERTED)


def test_every_web3_error_has_a_translation() -> None:
    kinds = {
        kind for kind in vars(foreign).values() if isinstance(kind, type) and issubclass(kind, foreign.Web3Exception)
    }
    assert kinds
    assert {kind for kind in kinds if not issubclass(kind, TRANSLATED)} - set(LET_THROUGH) == set()


def test_a_connection_that_breaks_is_no_answer_and_keeps_its_cause() -> None:
    broken = aiohttp.ServerDisconnectedError()
    with pytest.raises(NoAnswer) as raised, translated("node", "eth_blockNumber"):
        raise broken
    assert raised.value.__cause__ is broken


def test_what_web3_says_of_an_answers_form_is_a_bad_answer() -> None:
    with pytest.raises(BadAnswer), translated("node", "eth_getLogs"):
        raise foreign.BadResponseFormat("no id")


def test_our_own_errors_pass_through() -> None:
    with pytest.raises(ChainError, match="block 7"), translated("node", "x"):
        raise BadAnswer(node="node", method="x", problem="block 7")
