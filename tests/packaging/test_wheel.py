"""The wheel: what `pip install millpond` gives works without the checkout, and without what only developers have."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
ROOTS = [REPOSITORY / "libs", REPOSITORY / "services"]
SECONDS_MAX = 60


def run(command: Sequence[str | Path], cwd: Path) -> str:
    """Standard output of ``command``; fails with all that it said."""
    result = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=SECONDS_MAX, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@dataclass(frozen=True)
class Installed:
    """The wheel, and an environment that holds it beside the dependencies of this one."""

    wheel: Path
    environment: Path
    tree: frozenset[str]  # what lay under ROOTS when it was built

    @property
    def files(self) -> list[str]:
        with zipfile.ZipFile(self.wheel) as archive:
            return [name for name in archive.namelist() if ".dist-info/" not in name]

    @property
    def modules(self) -> list[str]:
        paths = [Path(name).with_suffix("") for name in self.files if name.endswith(".py")]
        return [".".join(path.parts).removesuffix(".__init__") for path in paths if path.name != "__main__"]

    @property
    def metadata(self) -> Message:
        with zipfile.ZipFile(self.wheel) as archive:
            (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
            return Parser().parsestr(archive.read(name).decode())


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    here = tmp_path_factory.mktemp("wheel")
    tree = frozenset(
        file.relative_to(root).as_posix()
        for root in ROOTS
        for file in root.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    )
    run([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", here, REPOSITORY], here)
    (wheel,) = here.glob("*.whl")
    environment = here / "environment"
    venv.create(environment, with_pip=False)
    python = environment / "bin" / "python"
    pip: list[str | Path] = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python]
    run([*pip, "install", "--quiet", "--no-deps", "--no-index", wheel], here)
    # A path added by a .pth file is searched, but .pth files in it are not read: the editable checkout stays out.
    site = Path(run([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], here).strip())
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return Installed(wheel, environment, tree)


def test_every_module_imports_from_the_wheel_with_what_the_wheel_declares(installed: Installed, tmp_path: Path) -> None:
    script = Path(__file__).with_name("import_everything.py")
    python = installed.environment / "bin" / "python"
    imported = json.loads(run([python, "-I", script, *installed.modules], tmp_path))
    assert "millpond.identity.signing" in imported
    assert "millpond_cli.app" in imported
    for name, file in imported.items():
        assert Path(file).is_relative_to(installed.environment), f"{name} came from {file}"


def test_the_command_runs(installed: Installed, tmp_path: Path) -> None:
    assert "Usage" in run([installed.environment / "bin" / "millpond", "--help"], tmp_path)


def test_nothing_of_the_packages_is_left_out_and_nothing_else_is_in(installed: Installed) -> None:
    assert set(installed.files) == installed.tree


def test_what_is_read_at_run_time_is_in_the_wheel(installed: Installed) -> None:
    for data in ("millpond/py.typed", "millpond/stream/postgres/schema.sql", "millpond/localstack/tools/kafka/pom.xml"):
        assert data in installed.files


def test_dependencies_come_from_an_index_and_extras_are_named(installed: Installed) -> None:
    assert "stack" in (installed.metadata.get_all("Provides-Extra") or [])
    for line in installed.metadata.get_all("Requires-Dist") or []:
        assert not re.search(r"@|://", line), line


def test_the_python_that_is_asked_for_is_the_one_that_is_tested(installed: Installed) -> None:
    assert installed.metadata["Requires-Python"] == ">=3.11"
