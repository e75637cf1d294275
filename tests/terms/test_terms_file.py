"""The operator's file: every problem at once, each with its line, its field and what it must be."""

from __future__ import annotations

from pathlib import Path

import pytest

from millpond.terms import TermsFileInvalid, read_terms_file

EXAMPLE = Path(__file__).parents[2] / "deploy" / "terms" / "example.yaml"


def refused(path: Path, text: str | bytes) -> list[str]:
    """What is said of a file with this text, line by line, without the first."""
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(TermsFileInvalid) as error:
        read_terms_file(path)
    first, *problems = str(error.value).splitlines()
    assert first == f"{path} can't be published:"
    return problems


def changed(old: str, new: str) -> tuple[str, int]:
    """The example with one text changed, and the line where that stands."""
    text = EXAMPLE.read_text()
    assert text.count(old) == 1, old
    return text.replace(old, new), text[: text.index(old)].count("\n") + 1


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "terms.yaml"


@pytest.mark.parametrize(
    ("old", "new", "field", "problem"),
    [
        ("lease_s: 10", "lease_s: 0", "work.lease_s", " is 0: Input should be greater than or equal to 1"),
        ("lease_s: 10", 'lease_s: "10"', "work.lease_s", " is '10': Input should be a valid integer"),
        ("policy: open", "policy: closed", "admission.policy", " is 'closed': Input should be 'open' or 'approval'"),
        ('wei: "70"', "wei: 70", "prices.0.wei", " is 70: Input should be a valid string"),
        ("assets: [ETH]", "assets: [DOGE]", "payout.assets.0", " is 'DOGE': Input should be 'ETH', "),
        ("kind: batch", "kinds: batch", "workloads.0.kind", ": Field required"),
        ("kind: batch", "kinds: batch", "workloads.0.kinds", " is 'batch': Extra inputs are not permitted"),
        ("regions: [any]", "regions: []", "operation.regions", " is []: Tuple should have at least 1 item"),
        ("version: 1 ", "version: 2026-01-01 ", "version", " is '2026-01-01': Input should be a valid integer"),
        ("pool: demo", "pool: Demo Pool", "pool", " is 'Demo Pool': String should match pattern"),
    ],
)
def test_a_wrong_value_is_named_with_line_and_field(path: Path, old: str, new: str, field: str, problem: str) -> None:
    text, line = changed(old, new)
    problems = refused(path, text)
    expected = f"{field}{problem}"
    (said,) = [each for each in problems if expected in each]
    # A field that is missing is looked for where its section begins.
    begins = line - 1 if problem == ": Field required" else line
    assert said.startswith(f"- line {begins}: "), said


def test_what_must_fit_together_is_named_with_its_section(path: Path) -> None:
    text, _ = changed("operator_share_ppm: 200000", "operator_share_ppm: 300000")
    (said,) = refused(path, text)
    assert "split: operator_share_ppm 300000 and contributors_share_ppm 800000 must add up to 1000000" in said
    text, _ = changed("suspect_after_s: 15", "suspect_after_s: 45")
    (said,) = refused(path, text)
    assert "downtime: heartbeat_s 5, suspect_after_s 45 and gone_after_s 30 must grow in this order" in said
    text, _ = changed('ETH: "10000000000000000"', 'USDC: "1"')
    (said,) = refused(path, text)
    assert "minimum lacks ETH: say 0 if there is none" in said


def test_all_problems_are_said_at_once(path: Path) -> None:
    text = EXAMPLE.read_text().replace("lease_s: 10", "lease_s: 0").replace("policy: open", "policy: closed")
    assert len(refused(path, text)) == 2


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("pool: [", "- line 1: "),
        ("a: 1\nb: : 2", "- line 2: "),
        (b"pool: \xff", "- it is not UTF-8 text"),
        ("pool: \x00", "- it is not YAML"),
        ("", "- line 1: the whole is None"),
        ("just text", "- line 1: the whole is 'just text'"),
        ("x" * 5_000, "- line 1: the whole is 'xxxx"),
        ("x" * 262_145, "- it has more than 262144 bytes"),
        ("pool: !!python/object:os.system x", "- line 1: "),
    ],
)
def test_a_file_that_is_no_terms_at_all_ends_in_one_sentence(path: Path, text: str | bytes, problem: str) -> None:
    (said, *more) = refused(path, text)
    assert said.startswith(problem)
    assert not more
    assert len(said) < 400


def test_a_file_that_can_t_be_opened_is_named(tmp_path: Path) -> None:
    with pytest.raises(TermsFileInvalid, match=r"nowhere.yaml can't be published:\n.*No such file"):
        read_terms_file(tmp_path / "nowhere.yaml")
