"""Reads the GPUs through NVML, the driver's own library. Each answer is guarded by itself: cards differ in what they tell."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, TypeVar

import pynvml  # type: ignore[import-untyped]

from millpond.hardware.errors import GpusUnreadable
from millpond.hardware.gpu import COMPUTE_CAPABILITY, PERCENT, TEMPERATURE_CELSIUS, Gpu, memory, within

T = TypeVar("T")


def read_gpus(library: Any = pynvml) -> tuple[Gpu, ...]:
    """The NVIDIA GPUs of this machine, by index; empty without a driver. Blocks for some milliseconds a card.

    ``library`` is pynvml or what looks like it. A card that doesn't even tell its UUID is left out, since nothing could
    be addressed to it. Raises ``GpusUnreadable``.
    """
    try:
        library.nvmlInit()
    except (library.NVMLError_LibraryNotFound, library.NVMLError_DriverNotLoaded):
        return ()
    except library.NVMLError as error:
        raise GpusUnreadable(cause=error) from error
    try:
        driver = _text(_answer(library, library.nvmlSystemGetDriverVersion))
        found = [_gpu(library, index, driver) for index in range(library.nvmlDeviceGetCount())]
        return tuple(gpu for gpu in found if gpu is not None)
    except library.NVMLError as error:
        raise GpusUnreadable(cause=error) from error
    finally:
        with contextlib.suppress(library.NVMLError):
            library.nvmlShutdown()


def _gpu(library: Any, index: int, driver: str | None) -> Gpu | None:
    def ask(question: str, *details: int) -> Any:
        return _answer(library, lambda: getattr(library, question)(handle, *details))

    handle = _answer(library, lambda: library.nvmlDeviceGetHandleByIndex(index))
    uuid = None if handle is None else _text(ask("nvmlDeviceGetUUID"))
    if uuid is None:
        return None
    total_bytes, free_bytes = _memory(ask("nvmlDeviceGetMemoryInfo"))
    major, minor = ask("nvmlDeviceGetCudaComputeCapability") or (None, None)
    utilization = ask("nvmlDeviceGetUtilizationRates")
    encoder, _sampled_us = ask("nvmlDeviceGetEncoderUtilization") or (None, None)
    return Gpu(
        index=index,
        id=uuid,
        name=_text(ask("nvmlDeviceGetName")),
        driver=driver,
        memory_total_bytes=total_bytes,
        memory_free_bytes=free_bytes,
        major=within(major, COMPUTE_CAPABILITY),
        minor=within(minor, range(100)),
        utilization_compute_percent=within(getattr(utilization, "gpu", None), PERCENT),
        utilization_memory_percent=within(getattr(utilization, "memory", None), PERCENT),
        utilization_encoder_percent=within(encoder, PERCENT),
        temperature_celsius=within(ask("nvmlDeviceGetTemperature", library.NVML_TEMPERATURE_GPU), TEMPERATURE_CELSIUS),
    )


def _answer(library: Any, ask: Callable[[], T]) -> T | None:
    try:
        return ask()
    except library.NVMLError:
        # Whatever the reason (not supported, no permission, lost): this one answer is unknown, and the others count.
        return None


def _memory(info: Any) -> tuple[int | None, int | None]:
    return memory(getattr(info, "total", None), getattr(info, "free", None))


def _text(answer: object) -> str | None:
    """Older pynvml answers in bytes."""
    text = answer.decode(errors="replace") if isinstance(answer, bytes) else answer
    return text.strip() or None if isinstance(text, str) else None
