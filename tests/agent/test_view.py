"""The contributor's screen: what it shows, and that it pretends nothing."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rich.console import Console

from agent.samples import CONTRIBUTOR, DEVICE, assigned
from millpond.events.device_claims import Gpu, GpuLoad
from millpond_agent.activity import Activity, Message
from millpond_agent.jobs import Track
from millpond_agent.session import Figures
from millpond_agent.view import BAR_COLUMNS, eth, line, screen, shown

NOW = datetime(2026, 11, 24, 12, 0, 30, tzinfo=UTC)
SNAPSHOT = Path(__file__).with_name("screen.txt")


def activity() -> Activity:
    card = Gpu(
        hardware_id="GPU-0",
        kind="nvidia",
        model="NVIDIA L4",
        memory_bytes=24 * 2**30,
        slots=4,
        workloads=("transcode",),
    )
    processor = Gpu(hardware_id="software", kind="software", model="EPYC, 2 cores", slots=1, workloads=("transcode",))
    away = Gpu(hardware_id="GPU-9", kind="nvidia", model="NVIDIA T4", slots=2, workloads=("transcode",))
    shown = Activity(
        pool="demo",
        edge="https://pool.example",
        device=DEVICE,
        contributor=CONTRIBUTOR,
        figures=Figures(done=128, failed=1, pixels=1_234_500_000, receipts=126, earned_wei=42 * 10**12, held_wei=7),
        connection="connected",
        is_connected=True,
        gpus=(card, processor, away),
        loads={
            "GPU-0": GpuLoad(
                hardware_id="GPU-0",
                running=3,
                utilization_percent=37,
                memory_free_bytes=20 * 2**30,
                temperature_celsius=61,
            ),
            "software": GpuLoad(hardware_id="software", running=0),
        },
        frames_of_last=25,
    )
    began_at = NOW - timedelta(seconds=3)
    for name, phase, frames, expected in (
        ("a", "transcoding", 12, None),
        ("b", "transcoding", 30, 60),
        ("c", "delivering", 25, None),
    ):
        job = assigned(name, now=NOW, hardware_id="GPU-0")
        shown.running[job.lease] = Track(job, began_at, phase, frames, expected)  # type: ignore[arg-type]  # literals
    shown.messages.append(Message(NOW, "Job 0123abcd/1 done: 2 renditions, 8.3 megapixels.", "good"))
    shown.messages.append(Message(NOW, "The runner ended (SIGKILL); it is started again.", "bad"))
    return shown


def drawn(shown: Activity, height: int = 30, width: int = 100) -> str:
    console = Console(width=width, height=height, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(screen(shown, NOW, height))
    return "\n".join(row.rstrip() for row in console.export_text().splitlines()) + "\n"


def test_the_screen_is_as_it_was_looked_at() -> None:
    # After a change that was looked at: write drawn(activity()) to the file.
    assert drawn(activity()) == SNAPSHOT.read_text()


def test_what_a_card_does_not_tell_is_a_dash_and_never_a_zero() -> None:
    row = next(row for row in drawn(activity()).splitlines() if row.lstrip().startswith("EPYC"))
    assert row.split()[-3:] == ["–", "–", "–"]
    assert " 0 %" not in row


def test_a_guessed_number_of_frames_is_marked_as_a_guess() -> None:
    text = drawn(activity())
    assert "12 of ~25 frames" in text
    assert "30 of 60 frames" in text


def test_a_job_of_unknown_length_is_never_shown_as_half_done() -> None:
    shown = activity()
    shown.frames_of_last = None
    row = next(row for row in drawn(shown).splitlines() if "12 frames" in row)
    assert row.count("━") == BAR_COLUMNS


def test_who_is_leaving_is_told_what_another_ctrl_c_would_do() -> None:
    shown = activity()
    assert "Ctrl-C finishes and leaves" in drawn(shown)
    shown.is_leaving = True
    assert "finishing; Ctrl-C ends at once" in drawn(shown)


def test_what_was_done_is_still_there_when_the_screen_is_gone() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=100, height=30)
    with shown(activity(), console, plain=False):
        pass
    left = out.getvalue().rpartition("\x1b[?1049l")[2]
    assert "128" in left
    assert "0.000042 ETH" in left


def test_earnings_are_called_an_estimate() -> None:
    assert "gross, before the pool's split" in drawn(activity())
    assert "0.000042 ETH" in drawn(activity())


def test_a_screen_of_few_rows_still_shows_the_last_messages() -> None:
    shown = activity()
    shown.messages.extend(Message(NOW, f"message {number}", "plain") for number in range(30))
    assert "message 29" in drawn(shown, height=10)
    assert "message 20" not in drawn(shown, height=10)


def test_what_a_pool_calls_itself_is_no_markup() -> None:
    shown = activity()
    shown.connection = "[bold]away[/bold]"
    assert "[bold]away[/bold]" in drawn(shown)


def test_a_stranger_s_words_don_t_steer_the_terminal() -> None:
    shown = activity()
    shown.tell("away\x1b[2J\x07\nand back")
    assert shown.messages[-1].text == "away [2J  and back"


def test_wei_are_shown_to_the_last() -> None:
    assert [eth(0), eth(1), eth(10**18), eth(1_500 * 10**15)] == [
        "0.0 ETH",
        "0.000000000000000001 ETH",
        "1.0 ETH",
        "1.5 ETH",
    ]


def test_the_same_sentence_is_not_said_twice_in_a_row() -> None:
    shown, heard = activity(), []
    shown.listeners.append(lambda message: heard.append(line(message)[10:]))
    for text in ("No connection.", "No connection.", "Connected."):
        shown.tell(text)
    assert heard == ["No connection.", "Connected."]
