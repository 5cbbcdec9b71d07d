"""docs/extending.md shows the files that the tests add, to the letter."""

from __future__ import annotations

import re
from pathlib import Path


def test_the_page_shows_every_file_that_is_added(repo: Path) -> None:
    page = (repo / "docs" / "extending.md").read_text()
    shown = dict(re.findall(r"^`components/(\S+)`\n```python\n(.*?)^```", page, flags=re.DOTALL | re.MULTILINE))
    additions = repo / "tests" / "additions"
    files = {path.relative_to(additions).as_posix(): path.read_text() for path in additions.rglob("*.py")}
    assert len(files) == 6
    assert shown == files
