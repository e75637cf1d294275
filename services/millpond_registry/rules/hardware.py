"""Whether a device's GPUs are what the terms take."""

from __future__ import annotations

import re
from collections.abc import Sequence

from millpond.events.device_claims import Gpu
from millpond.terms.terms import Hardware, Terms
from millpond_registry.rules.reasons import HARDWARE


def missing(gpus: Sequence[Gpu], terms: Terms) -> list[tuple[str, ...]]:
    """For each GPU of one device the fields of the terms that it doesn't meet; what is unknown is not met."""
    found = [_missing(gpu, terms) for gpu in gpus]
    if terms.hardware.multiple_gpus_per_node:
        return found
    # The first that would do is the one; which is first doesn't change when the machine starts again.
    fit = [number for number, lacks in enumerate(found) if not lacks]
    return [("multiple_gpus_per_node",) if number in fit[1:] else lacks for number, lacks in enumerate(found)]


def sentence(gpu: Gpu, lacks: Sequence[str], terms: Terms) -> str:
    """For the contributor: everything that is missing."""
    memory = "nothing about it" if gpu.memory_bytes is None else gpu.memory_bytes
    facts = {
        "models": ", ".join(terms.hardware.gpu_models),
        "wanted": terms.hardware.memory_bytes_min,
        "found": memory,
    }
    return " ".join(HARDWARE[field].format_map(facts) for field in lacks)


def workloads(gpu: Gpu, terms: Terms) -> tuple[str, ...]:
    """Those that the GPU does and the pool takes jobs for."""
    taken = {capability.workload for capability in terms.workloads}
    return tuple(workload for workload in gpu.workloads if workload in taken)


def _missing(gpu: Gpu, terms: Terms) -> tuple[str, ...]:
    lacks = () if workloads(gpu, terms) else ("workloads",)
    match gpu.kind:
        case "software":
            # A processor has no model or memory of a GPU to be measured by.
            return (*(() if terms.hardware.software_devices else ("software_devices",)), *lacks)
        case "nvidia":
            return (*_missing_in_card(gpu, terms.hardware), *lacks)


def _missing_in_card(gpu: Gpu, hardware: Hardware) -> tuple[str, ...]:
    model = () if not hardware.gpu_models or _is_one_of(gpu.model, hardware.gpu_models) else ("gpu_models",)
    enough = not hardware.memory_bytes_min or (gpu.memory_bytes or 0) >= hardware.memory_bytes_min
    return (*model, *(() if enough else ("memory_bytes_min",)))


def _is_one_of(name: str, models: Sequence[str]) -> bool:
    """``A100`` is in ``NVIDIA A100-SXM4-80GB``, ``RTX 3090`` in ``NVIDIA GeForce RTX 3090``; ``L40`` isn't in ``NVIDIA L40S``."""
    words = f" {' '.join(_words(name))} "
    return any(f" {' '.join(_words(model))} " in words for model in models)


def _words(text: str) -> list[str]:
    return re.findall("[a-z0-9]+", text.lower())
