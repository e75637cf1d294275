"""What ffmpeg's exit and its last words mean."""

from __future__ import annotations

import re
from typing import Final

from millpond_runner.messages import Failed, Reason

# Linux' numbers, spelt out since a rule reads nothing from its machine.
SIGKILL: Final = 9
SIGXFSZ: Final = 25

_SENTENCES: Final = {
    Reason.CANCELLED: "The job was cancelled by its caller.",
    Reason.STOPPED: "The runner was stopped before the job had ended.",
    Reason.HUNG: "ffmpeg made no progress for {limit_s:g} s and was killed.",
    Reason.TIMED_OUT: "The job took longer than {limit_s:g} s and was killed.",
    Reason.DISK_FULL: "There is no space left for the outputs on the runner's disk.",
    Reason.TOO_LARGE: "A rendition grew over {limit_bytes} bytes.",
    Reason.ENCODER_FAILED: "The encoder did not open: {why}",
    Reason.BAD_INPUT: "The input holds no video that can be decoded: {why}",
    Reason.CRASHED: "ffmpeg failed: {why}",
}

# Looked for in ffmpeg's errors, in this order: what a machine lacks makes other things fail, too.
_SYMPTOMS: Final = (
    (Reason.DISK_FULL, "No space left on device|Disk quota exceeded"),
    # Not "Could not open encoder before EOF": so ends an input without a frame, too.
    (
        Reason.ENCODER_FAILED,
        "Cannot load lib|No capable devices found|OpenEncodeSessionEx failed|Error while opening encoder",
    ),
    (Reason.CRASHED, "Cannot allocate memory"),
    (
        Reason.BAD_INPUT,
        "Error opening input|Cannot determine format of input|matches no streams|Decode error rate"
        "|unspecified size|Could not find codec parameters|Picture size|Nothing was written into output",
    ),
)
# "[h264 @ 0x55fdbc096840] " tells a person nothing, and differs from run to run.
_ADDRESS: Final = re.compile(r"^(\[[^\]]* @ 0x[0-9a-f]+\] ?)+")
WHY_CHARACTERS_MAX: Final = 300


def failure(reason: Reason, *, why: str = "", limit_s: float = 0, limit_bytes: int = 0) -> Failed:
    """The answer for ``reason``, with a sentence for people."""
    sentence = _SENTENCES[reason].format(why=why, limit_s=limit_s, limit_bytes=limit_bytes)
    return Failed(reason=reason, sentence=sentence)


def failure_of_exit(status: int, errors: str, *, output_bytes_max: int) -> Failed:
    """Why ffmpeg ended with ``status`` (not 0; -n: signal n), by what it wrote to its standard error."""
    if status == -SIGXFSZ:
        return failure(Reason.TOO_LARGE, limit_bytes=output_bytes_max)
    if status < 0:
        hint = ", perhaps for want of memory" if status == -SIGKILL else ""
        return failure(Reason.CRASHED, why=f"signal {-status} ended it{hint}")
    lines = [line for line in errors.splitlines() if line.strip()] or ["it said nothing"]
    for reason, pattern in _SYMPTOMS:
        symptom = next((line for line in lines if re.search(pattern, line)), None)
        if symptom is not None:
            return failure(reason, why=_told(symptom))
    return failure(Reason.CRASHED, why=f"exit status {status}, {_told(lines[-1])}")


def failure_of_output(why: str, *, frames: int) -> Failed:
    """What it means that ffmpeg was content, and a file is not what was asked for. ``frames``: told by ffmpeg."""
    if not frames:
        return failure(Reason.BAD_INPUT, why="not one frame of it came out")
    return failure(Reason.CRASHED, why=why)


def cause_told(errors: str) -> str | None:
    """The first words: what follows in ffmpeg's errors are consequences."""
    return next((_told(line) for line in errors.splitlines() if line.strip()), None)


def _told(line: str) -> str:
    return _ADDRESS.sub("", line).strip()[:WHY_CHARACTERS_MAX]


def frames_told(line: str) -> int | None:
    """The count in a line of ffmpeg's ``-progress``, or None if the line tells something else."""
    told = re.fullmatch(r"frame=\s*(\d{1,18})\s*", line)
    return int(told[1]) if told else None
