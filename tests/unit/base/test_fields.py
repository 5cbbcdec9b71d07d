"""Types of single settings accept what they describe and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from components.base.fields import Name, OpenShare, RelativePath, Seed, Share

RIGHT = [
    (Share, 0.0),
    (Share, 1.0),
    (OpenShare, 0.5),
    (Seed, 0),
    (Name, "vae_2"),
    (RelativePath, Path("data/split.csv")),
]
WRONG = [
    (Share, 1.01), (Share, -0.01), (OpenShare, 0.0), (OpenShare, 1.0), (Seed, -1), (Name, "VAE"), (Name, "a-b"),
    (Name, "2a"), (Name, "a" * 65), (Name, ""), (RelativePath, Path("/data")), (RelativePath, Path("data/../../x")),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "value"), RIGHT)
def test_a_value_in_range_is_kept(kind: object, value: object) -> None:
    assert TypeAdapter(kind).validate_python(value) == value


@pytest.mark.parametrize(("kind", "value"), WRONG)
def test_a_value_out_of_range_is_refused(kind: object, value: object) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(kind).validate_python(value)
