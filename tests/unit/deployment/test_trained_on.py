"""Which test lesions a model has seen: by image, by lesion, and with all images of a group."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from components.base.errors import CheckpointError
from components.deployment.trained_on import as_text, hash_ids, read_hashes, seen


def index(*rows: tuple[str, str | None, str]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["image_id", "lesion_id", "group"])


TRAINED = index(("a1", "A", "a1"), ("a2", "A", "a1"), ("b1", None, "b1"))


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (("a1", "A", "a1"), True),
        (("a3", "A", "a3"), True),  # a new image of a lesion that was in train
        (("a4", None, "a2"), True),  # of the same patient: the group is named after an image that was in train
        (("b1", "B", "b1"), True),
        (("b2", None, "b2"), False),  # a null lesion is no lesion
        (("A", "a1", "A"), False),  # an image with the name of a lesion
    ],
)
def test_an_image_is_seen_by_any_of_its_ids(row: tuple[str, str | None, str], expected: bool) -> None:
    assert seen(index(row), hash_ids(TRAINED)).tolist() == [expected]


def test_one_seen_image_marks_its_whole_group() -> None:
    test = index(("a1", "A", "g"), ("x", "X", "g"), ("y", "Y", "y"))
    assert seen(test, hash_ids(TRAINED)).tolist() == [True, True, False]


def test_hashes_are_read_as_they_were_written(tmp_path: Path) -> None:
    hashes = hash_ids(TRAINED)
    path = tmp_path / "trained_on.json"
    path.write_text(as_text(hashes))
    assert read_hashes(path) == hashes
    assert as_text(sorted(hashes)) == as_text(hashes)
    assert "a1" not in path.read_text()
    path.write_text('["short"]')
    with pytest.raises(CheckpointError, match="is no list of hashes of 16 digits"):
        read_hashes(path)
