"""What ffmpeg's end means: the real words of a real ffmpeg, and no other order than that of the table."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millpond_runner.messages import Reason
from millpond_runner.rules import cause_told, failure_of_exit, failure_of_output, frames_told

NO_ENCODER = """
[h264_nvenc @ 0x56454c38fe00] Cannot load libcuda.so.1
[vost#0:0/h264_nvenc @ 0x56454c38f280] [enc:h264_nvenc @ 0x56454c38fd40] Error while opening encoder
[vost#0:0/h264_nvenc @ 0x56454c38f280] [enc:h264_nvenc @ 0x56454c38fd40] Could not open encoder before EOF
[out#0/null @ 0x56454c38e6c0] Nothing was written into output file, because at least one of its streams received no packets.
"""
NO_FRAME = """
[fc#0 @ 0x5560d2012680] Cannot determine format of input 0:0 after EOF
[vost#1:0/libx264 @ 0x5560d2089e00] [enc:libx264 @ 0x5560d2024540] Could not open encoder before EOF
[out#0/mpegts @ 0x5560d2089e00] Nothing was written into output file, because at least one of its streams received no packets.
"""
FULL = """
[h264 @ 0x558ee68d8740] error while decoding MB 33 20, bytestream -9
[out#1/mpegts @ 0x5633b1b3b380] Error writing trailer: No space left on device
"""
HUGE = """
[h264 @ 0x557fe24dc600] [IMGUTILS @ 0x7fffce970d00] Picture size 8192x8192 exceeds specified max pixel count 58982400
[h264 @ 0x557fe24dc600] video_get_buffer: image parameters invalid
"""
MEMORY = """
[h264 @ 0x557fe24dc600] Picture size 1x1 is invalid
[vost#0:0/libx264 @ 0x5560d2089e00] Error: Cannot allocate memory
"""


def reason(status: int, errors: str) -> Reason:
    return failure_of_exit(status, errors, output_bytes_max=1).reason


@pytest.mark.parametrize(
    ("errors", "expected", "words"),
    [
        (NO_ENCODER, Reason.ENCODER_FAILED, "The encoder did not open: Cannot load libcuda.so.1"),
        (NO_FRAME, Reason.BAD_INPUT, "decoded: Cannot determine format of input 0:0 after EOF"),
        (FULL, Reason.DISK_FULL, "There is no space left"),
        (HUGE, Reason.BAD_INPUT, "decoded: Picture size 8192x8192 exceeds"),
        (MEMORY, Reason.CRASHED, "Cannot allocate memory"),
        ("", Reason.CRASHED, "ffmpeg failed: exit status 1, it said nothing"),
    ],
)
def test_the_first_cause_is_told_and_not_what_follows_from_it(errors: str, expected: Reason, words: str) -> None:
    failed = failure_of_exit(1, errors, output_bytes_max=1)
    assert failed.reason == expected
    assert words in failed.sentence
    assert "0x5" not in failed.sentence


@given(st.permutations([*FULL.splitlines(), *NO_FRAME.splitlines(), *HUGE.splitlines()]))
def test_what_the_machine_lacks_comes_before_what_the_input_lacks(lines: list[str]) -> None:
    assert reason(1, "\n".join(lines)) == Reason.DISK_FULL


def test_a_signal_says_more_than_words() -> None:
    assert reason(-25, NO_FRAME) == Reason.TOO_LARGE
    assert reason(-11, NO_FRAME) == Reason.CRASHED
    assert "memory" in failure_of_exit(-9, "", output_bytes_max=1).sentence


@given(st.text(), st.integers(min_value=-64, max_value=255).filter(bool))
def test_any_words_end_in_an_answer_of_bounded_length(errors: str, status: int) -> None:
    failed = failure_of_exit(status, errors, output_bytes_max=1)
    assert 0 < len(failed.sentence) < 500


def test_an_output_that_is_not_there_is_the_input_s_fault_only_if_no_frame_came() -> None:
    assert failure_of_output("it is gone", frames=0).reason == Reason.BAD_INPUT
    assert failure_of_output("it is gone", frames=1).reason == Reason.CRASHED


@pytest.mark.parametrize(
    ("line", "frames"),
    [("frame=25", 25), ("frame=  7 ", 7), ("frame=", None), ("frame=-1", None), ("fps=25", None), ("xframe=1", None)],
)
def test_frames_are_read_from_progress(line: str, frames: int | None) -> None:
    assert frames_told(line) == frames


def test_the_cause_is_the_first_word_that_says_something() -> None:
    assert cause_told(NO_ENCODER) == "Cannot load libcuda.so.1"
    assert cause_told("\n \n") is None
