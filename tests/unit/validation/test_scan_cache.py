"""The cache of a scan: only new content is decoded, and a cache that is damaged or of another version is not used."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pandas as pd
import pytest

from components.validation import image_facts
from components.validation import scan as scanning
from components.validation.scan import scan
from components.validation.scan_cache import NAME
from tests.unit.validation.image_files import encode, flip, photograph
from tests.unit.validation.small_scans import put, run


@pytest.fixture
def decodes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the files that were really decoded; the decoder itself is not replaced."""
    seen: list[int] = []
    true = image_facts._decode

    def counted(data: bytes, *arguments: object, **options: object) -> object:
        seen.append(len(data))
        return true(data, *arguments, **options)

    monkeypatch.setattr(image_facts, "_decode", counted)
    return seen


def test_after_100_new_images_100_are_decoded(tmp_path: Path, decodes: list[int]) -> None:
    root = tmp_path / "data"
    root.mkdir()
    names = [put(root, f"{n:03}.jpg", encode(photograph(32, n), "JPEG")) for n in range(150)]
    first = run(root, names, cache=tmp_path / "cache")
    assert (first.decoded, len(decodes)) == (150, 150)
    names += [put(root, f"{n:03}.jpg", encode(photograph(32, n), "JPEG")) for n in range(150, 250)]
    decodes.clear()
    second = run(root, names, cache=tmp_path / "cache")
    assert (second.decoded, len(decodes)) == (100, 100)
    decodes.clear()
    third = run(root, names, cache=tmp_path / "cache")
    assert (third.decoded, len(decodes)) == (0, 0)
    pd.testing.assert_frame_equal(second.facts, third.facts)
    pd.testing.assert_frame_equal(second.facts, run(root, names).facts)


def test_a_renamed_file_is_known_and_its_new_name_is_checked(tmp_path: Path, decodes: list[int]) -> None:
    root = tmp_path / "data"
    root.mkdir()
    put(root, "a.jpg", encode(photograph(), "JPEG"))
    assert run(root, ["a.jpg"], cache=tmp_path).facts["problem"].isna().all()
    (root / "a.jpg").rename(root / "b.png")
    decodes.clear()
    renamed = run(root, ["a.jpg", "b.png"], cache=tmp_path)
    assert renamed.facts["problem"].tolist() == ["missing", "wrong_extension"]
    assert decodes == []
    (root / "b.png").rename(root / "c.jpg")
    assert run(root, ["c.jpg"], cache=tmp_path).facts["problem"].isna().all()


def test_a_file_overwritten_by_another_of_its_size_and_time_is_decoded(tmp_path: Path) -> None:
    root = tmp_path / "data"
    root.mkdir()
    one, other = (encode(photograph(seed=seed), "BMP") for seed in (1, 2))
    run(root, [put(root, "a.bmp", one)], cache=tmp_path)
    put(root, "a.bmp", other)
    assert len(one) == len(other)
    again = run(root, ["a.bmp"], cache=tmp_path)
    assert (again.decoded, again.facts["sha256"][0]) == (1, hashlib.sha256(other).hexdigest())


def damaged(data: bytes) -> dict[str, bytes]:
    return {
        "cut": data[: len(data) // 2],
        "empty": b"",
        "text": b"path,sha256\n",
        "flipped": flip(data, len(data) // 3),
    }


def flips(data: bytes) -> list[int]:
    """Some places all over a file."""
    return [0, 70, *range(140, len(data), len(data) // 40), len(data) - 1]


def test_no_flipped_bit_of_a_cache_is_accepted(tmp_path: Path) -> None:
    put(tmp_path, "a.jpg", encode(photograph(), "JPEG"))
    run(tmp_path, ["a.jpg"], cache=tmp_path)
    sound = (tmp_path / NAME).read_bytes()
    for place in flips(sound):
        (tmp_path / NAME).write_bytes(flip(sound, place))
        assert run(tmp_path, ["a.jpg"], cache=tmp_path).decoded == 1, place


@pytest.mark.parametrize("kind", ["cut", "empty", "text", "flipped", "version", "columns"])
def test_a_cache_that_is_damaged_or_outdated_is_ignored_with_a_line(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, cache, lines = tmp_path / "data", tmp_path / "cache", list[str]()
    root.mkdir()
    names = [put(root, f"{n}.jpg", encode(photograph(32, n), "JPEG")) for n in range(5)]
    first = run(root, names, cache=cache, warn=lines.append)
    assert lines == []
    if kind == "version":
        monkeypatch.setattr(scanning, "version", lambda: "another")
    elif kind == "columns":
        scanning.write_cache(cache, scanning.version(), first.facts[["sha256", "luma"]])
    else:
        (cache / NAME).write_bytes(damaged((cache / NAME).read_bytes())[kind])
    again = run(root, names, cache=cache, warn=lines.append)
    assert again.decoded == 5
    assert len(lines) == 1 and re.search(r"scan\.cache .*: every image is decoded again", lines[0])
    pd.testing.assert_frame_equal(first.facts, again.facts)
    assert run(root, names, cache=cache, warn=lines.append).decoded == 0, "it is rewritten"


def test_an_interrupted_scan_keeps_what_it_found(tmp_path: Path) -> None:
    names = [put(tmp_path, f"{n:03}.jpg", encode(photograph(32, n), "JPEG")) for n in range(200)]

    def interrupted(items: object, total: int, what: str) -> object:
        for number, item in enumerate(items):
            if number == 130:
                raise KeyboardInterrupt
            yield item

    with pytest.raises(KeyboardInterrupt):
        scan(tmp_path, names, None, interrupted, cache=tmp_path / "cache")
    assert run(tmp_path, names, cache=tmp_path / "cache").decoded == 70


def test_the_version_changes_with_a_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    before = scanning.version()
    scanning.version.cache_clear()
    try:
        monkeypatch.setattr(scanning.simplejpeg, "__version__", "99")
        assert scanning.version() != before
    finally:
        scanning.version.cache_clear()
