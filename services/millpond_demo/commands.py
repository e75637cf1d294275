"""`millpond …` as its users type it, in a process of its own."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from millpond.errors import MillpondError
from millpond_demo.keys import Wallet

COMMAND_S_MAX: Final = 60.0


class CommandFailed(MillpondError):
    """`millpond {command}` ended with {status}:
    {output}"""


class CommandTooSlow(MillpondError):
    """`millpond {command}` has not ended within {limit_s:.0f} s."""


def signed_by(wallet: Wallet) -> tuple[str, ...]:
    """The options with which a wallet signs."""
    return "--keystore", str(wallet.keystore), "--password-file", str(wallet.password_file)


async def run_command(arguments: Sequence[str], environment: Mapping[str, str]) -> str:
    """What `millpond …` prints. Raises ``CommandFailed``, ``CommandTooSlow``."""
    process = await asyncio.create_subprocess_exec(
        millpond_command(),
        *arguments,
        # Wide, so that nothing that is looked for in the output is broken in two.
        env={**os.environ, **environment, "COLUMNS": "200"},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), COMMAND_S_MAX)
    except TimeoutError as error:
        raise CommandTooSlow(command=" ".join(arguments), limit_s=COMMAND_S_MAX) from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise CommandFailed(command=" ".join(arguments), status=process.returncode, output=output.decode().strip())
    return output.decode()


def millpond_command() -> str:
    """The ``millpond`` beside the Python that runs us."""
    return str(Path(sys.executable).with_name("millpond"))
