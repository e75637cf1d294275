"""NVML: what a card doesn't tell is unknown, and never zero."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pynvml  # type: ignore[import-untyped]
import pytest

from millpond.hardware.errors import GpusUnreadable
from millpond.hardware.nvml import read_gpus

UUID = "GPU-8f3f6f0e-5f8d-4f4e-9d2a-000000000001"
GIB = 2**30


class FakeNvml:
    """NVML with cards of our own: an answer that is an exception is raised. All else, errors too, is pynvml's."""

    def __init__(self, *cards: dict[str, Any], init: Exception | None = None) -> None:
        self.cards, self.init, self.is_open = cards, init, 0

    def __getattr__(self, name: str) -> Any:
        if not name.startswith(("nvmlDeviceGet", "nvmlSystemGet")):
            return getattr(pynvml, name)
        return lambda card, *details: give(card[name])

    def nvmlInit(self) -> None:  # noqa: N802
        give(self.init)
        self.is_open += 1

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.is_open -= 1

    def nvmlSystemGetDriverVersion(self) -> str:  # noqa: N802
        return "570.86.10"

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return len(self.cards)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> dict[str, Any]:  # noqa: N802
        card = self.cards[index]
        give(card.get("handle"))
        return card


def give(answer: Any) -> Any:
    if isinstance(answer, Exception):
        raise answer
    return answer


def error(code: int) -> Exception:
    made: Exception = pynvml.NVMLError(code)
    return made


def card(**changed: Any) -> dict[str, Any]:
    answers = {
        "UUID": UUID,
        "Name": "NVIDIA H100 80GB HBM3",
        "MemoryInfo": SimpleNamespace(total=80 * GIB, free=79 * GIB, used=GIB),
        "CudaComputeCapability": (9, 0),
        "UtilizationRates": SimpleNamespace(gpu=0, memory=3),
        "EncoderUtilization": (12, 167_000),
        "Temperature": 41,
    }
    handle = {"handle": changed.pop("handle")} if "handle" in changed else {}
    return {**{f"nvmlDeviceGet{name}": answer for name, answer in {**answers, **changed}.items()}, **handle}


def test_a_card_that_answers_is_told_as_it_is() -> None:
    library = FakeNvml(card())
    (gpu,) = read_gpus(library)
    assert (gpu.index, gpu.id, gpu.name, gpu.driver) == (0, UUID, "NVIDIA H100 80GB HBM3", "570.86.10")
    assert (gpu.memory_total_bytes, gpu.memory_free_bytes, gpu.major, gpu.minor) == (80 * GIB, 79 * GIB, 9, 0)
    # An idle card's zero is a zero.
    assert (gpu.utilization_compute_percent, gpu.utilization_memory_percent) == (0, 3)
    assert (gpu.utilization_encoder_percent, gpu.temperature_celsius) == (12, 41)
    assert library.is_open == 0


QUESTIONS = {
    "Name": ["name"],
    "MemoryInfo": ["memory_total_bytes", "memory_free_bytes"],
    "CudaComputeCapability": ["major", "minor"],
    "UtilizationRates": ["utilization_compute_percent", "utilization_memory_percent"],
    "EncoderUtilization": ["utilization_encoder_percent"],
    "Temperature": ["temperature_celsius"],
}


@pytest.mark.parametrize("code", [pynvml.NVML_ERROR_NOT_SUPPORTED, pynvml.NVML_ERROR_UNKNOWN, 12345])
@pytest.mark.parametrize("question", QUESTIONS)
def test_one_question_without_an_answer_leaves_the_others(question: str, code: int) -> None:
    (whole,) = read_gpus(FakeNvml(card()))
    (gpu,) = read_gpus(FakeNvml(card(**{question: error(code)})))
    unknown = {field for field in vars(gpu) if getattr(gpu, field) is None}
    assert unknown == set(QUESTIONS[question])
    assert {f: v for f, v in vars(gpu).items() if f not in unknown} == {
        f: v for f, v in vars(whole).items() if f not in unknown
    }


@pytest.mark.parametrize(
    ("question", "answer", "unknown"),
    [
        ("UtilizationRates", SimpleNamespace(gpu=808_334_905, memory=3), "utilization_compute_percent"),
        ("UtilizationRates", SimpleNamespace(gpu=5, memory=0xFFFFFFFF), "utilization_memory_percent"),
        ("EncoderUtilization", (101, 167_000), "utilization_encoder_percent"),
        ("Temperature", 82_505, "temperature_celsius"),
        ("MemoryInfo", SimpleNamespace(total=2**64 - 1, free=GIB), "memory_total_bytes"),
        ("MemoryInfo", SimpleNamespace(total=0, free=0), "memory_total_bytes"),
        ("MemoryInfo", SimpleNamespace(total=GIB, free=2 * GIB), "memory_free_bytes"),
        ("CudaComputeCapability", (0, 0), "major"),
        ("Name", "", "name"),
    ],
)
def test_an_answer_that_cannot_be_is_unknown(question: str, answer: Any, unknown: str) -> None:
    (gpu,) = read_gpus(FakeNvml(card(**{question: answer})))
    assert getattr(gpu, unknown) is None


def test_a_full_card_has_no_free_memory_and_says_so() -> None:
    (gpu,) = read_gpus(FakeNvml(card(MemoryInfo=SimpleNamespace(total=GIB, free=0))))
    assert gpu.memory_free_bytes == 0


def test_text_in_bytes_is_read_too() -> None:
    (gpu,) = read_gpus(FakeNvml(card(UUID=UUID.encode(), Name=b"Tesla P4")))
    assert (gpu.id, gpu.name) == (UUID, "Tesla P4")


def test_a_lost_card_is_left_out_and_the_others_keep_their_index() -> None:
    lost = card(handle=error(pynvml.NVML_ERROR_GPU_IS_LOST))
    nameless = card(UUID=error(pynvml.NVML_ERROR_UNKNOWN))
    assert [gpu.index for gpu in read_gpus(FakeNvml(lost, nameless, card()))] == [2]


@pytest.mark.parametrize("code", [pynvml.NVML_ERROR_LIBRARY_NOT_FOUND, pynvml.NVML_ERROR_DRIVER_NOT_LOADED])
def test_a_machine_without_a_driver_has_no_gpus(code: int) -> None:
    assert read_gpus(FakeNvml(init=error(code))) == ()


def test_a_driver_that_does_not_answer_is_not_a_machine_without_gpus() -> None:
    with pytest.raises(GpusUnreadable, match="nvidia-smi"):
        read_gpus(FakeNvml(init=error(pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH)))
