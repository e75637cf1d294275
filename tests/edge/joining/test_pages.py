"""The pages come from this host alone, and nobody frames or scripts them."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

from edge.pool import RunningEdge
from millpond_edge.joining.pages import FILES

PAGE = files("millpond_edge.joining") / "page"


@pytest.mark.parametrize("path", ["/join", "/join/BBBB-BBBB", "/devices", "/page/page.css", "/page/join.js"])
async def test_each_file_is_served_with_a_strict_policy_and_not_sent_twice(edge: RunningEdge, path: str) -> None:
    answer = await edge.http.get(path)
    policy = answer.headers["content-security-policy"]
    assert answer.status_code == 200
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    again = await edge.http.get(path, headers={"if-none-match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


async def test_the_root_leads_to_joining_and_other_files_are_none_of_ours(edge: RunningEdge) -> None:
    assert (await edge.http.get("/")).headers["location"] == "/join"
    for name in ("..%2Fstore.py", "nothing.js", "..%2f..%2fapp.py"):
        answer = await edge.http.get(f"/page/{name}")
        assert (answer.status_code, bool(answer.json()["error"]["sentence"])) == (404, True)


def test_the_files_are_those_that_are_served_and_name_no_other_host() -> None:
    assert {path.name for path in PAGE.iterdir()} == set(FILES)
    for name in FILES:
        text = (PAGE / name).read_text()
        assert re.findall(r"(?:https?:)?//[a-z0-9.-]+\.[a-z]+", text) == [], name
        # The policy forbids them, so they would do nothing.
        assert not re.search(r"\son[a-z]+=|\sstyle=|<style|<script>", text), name
        for used in re.findall(r'(?:src|href|from) ?=? ?"/page/([^"]+)"', text):
            assert used in FILES
