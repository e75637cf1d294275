"""What looks like pynvml: two cards, of which the second answers almost nothing."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any


class NVMLError(Exception): ...


class NVMLError_LibraryNotFound(NVMLError): ...  # noqa: N801  # the library's own spelling


class NVMLError_DriverNotLoaded(NVMLError): ...  # noqa: N801


NVML_TEMPERATURE_GPU = 0


class FakeNvml:
    NVMLError = NVMLError
    NVMLError_LibraryNotFound = NVMLError_LibraryNotFound
    NVMLError_DriverNotLoaded = NVMLError_DriverNotLoaded
    NVML_TEMPERATURE_GPU = NVML_TEMPERATURE_GPU

    def nvmlInit(self) -> None: ...  # noqa: N802

    def nvmlShutdown(self) -> None: ...  # noqa: N802

    def nvmlSystemGetDriverVersion(self) -> str:  # noqa: N802
        return "560.35"

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return 2

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        return index

    def nvmlDeviceGetUUID(self, card: int) -> str:  # noqa: N802
        return f"GPU-{card}"

    def __getattr__(self, question: str) -> Any:
        talkative = {
            "nvmlDeviceGetName": "NVIDIA L4",
            "nvmlDeviceGetMemoryInfo": SimpleNamespace(total=24 * 2**30, free=20 * 2**30),
            "nvmlDeviceGetCudaComputeCapability": (8, 9),
            "nvmlDeviceGetUtilizationRates": SimpleNamespace(gpu=37, memory=12),
            "nvmlDeviceGetEncoderUtilization": (80, 1_000),
            "nvmlDeviceGetTemperature": 61,
        }

        def ask(card: int, *_: object) -> Any:
            if card == 1:
                raise NVMLError("not supported")
            return talkative[question]

        return ask
