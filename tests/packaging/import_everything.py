"""Run by test_wheel.py with the Python of a fresh environment: imports every module that its arguments name.

Other distributions than those that the wheel declares (and what they need in turn) are hidden first: what the developer's
environment happens to hold besides must not be needed. Prints a JSON object: module to the file it came from.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from types import ModuleType

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def needed(name: str, extras: frozenset[str], found: set[str]) -> set[str]:
    """Adds ``name`` and all that it needs, canonical names, to ``found``."""
    found.add(canonicalize_name(name))
    try:
        lines = requires(name) or []
    except PackageNotFoundError:  # for another platform or Python
        return found
    for line in lines:
        requirement = Requirement(line)
        wanted = any(requirement.marker is None or requirement.marker.evaluate({"extra": e}) for e in extras | {""})
        if wanted and canonicalize_name(requirement.name) not in found:
            needed(requirement.name, frozenset(requirement.extras), found)
    return found


class Hidden:
    """Finds nothing for the packages that nobody declared."""

    def __init__(self, packages: set[str]) -> None:
        self.packages = packages

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> None:
        if name.partition(".")[0] in self.packages:
            raise ModuleNotFoundError(f"{name} is not among the wheel's dependencies", name=name)


def main(modules: list[str]) -> None:
    declared = needed("millpond", frozenset(), set())
    hidden = {
        package
        for package, distributions in packages_distributions().items()
        if not declared & {canonicalize_name(distribution) for distribution in distributions}
    }
    for name in [name for name in sys.modules if name.partition(".")[0] in hidden]:
        del sys.modules[name]
    sys.meta_path.insert(0, Hidden(hidden))
    print(json.dumps({name: importlib.import_module(name).__file__ for name in modules}))


if __name__ == "__main__":
    main(sys.argv[1:])
