"""Scans of whole folders: the same table in one process, threads or several processes."""

from __future__ import annotations

import ast
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path

import pandas as pd
import pytest

from components.base.errors import DataError
from components.validation import checks
from components.validation import scan as scanning
from components.validation.executors import open_executor
from components.validation.image_facts import ImageFacts
from components.validation.settings import NearDuplicates
from tests.unit.validation.image_files import encode, photograph, write_bad, write_clean
from tests.unit.validation.small_scans import put, run


def test_scan_is_sorted_and_the_same_in_threads(tmp_path: Path) -> None:
    names = [put(tmp_path, f"{n}.png", encode(photograph(32, n), "PNG")) for n in (3, 1, 2)]
    plain = run(tmp_path, [*names, "0.png"]).facts
    with ThreadPoolExecutor(2) as executor:
        threaded = run(tmp_path, [*names[::-1], "0.png"], executor).facts
    assert plain["path"].tolist() == ["0.png", "1.png", "2.png", "3.png"]
    assert plain["problem"].tolist()[0] == "missing"
    pd.testing.assert_frame_equal(plain, threaded)


def test_processes_give_the_same_table(tmp_path: Path) -> None:
    root = tmp_path / "data"
    root.mkdir()
    names = [*write_bad(root), *write_clean(root)]
    with open_executor(2, None) as executor:
        spread = run(root, names, executor, cache=tmp_path / "cache")
        again = run(root, names, executor, cache=tmp_path / "cache")
    pd.testing.assert_frame_equal(spread.facts, run(root, names).facts)
    pd.testing.assert_frame_equal(spread.facts, again.facts)
    assert again.decoded == 0


def test_one_worker_needs_no_executor() -> None:
    with open_executor(1, None) as executor:
        assert executor is None


def test_an_empty_scan_has_the_same_columns_and_types(tmp_path: Path) -> None:
    put(tmp_path, "a.png", encode(photograph(), "PNG"))
    nothing, something = run(tmp_path, []).facts, run(tmp_path, ["a.png"]).facts
    assert nothing.dtypes.to_dict() == something.dtypes.to_dict()
    assert list(nothing) == [field.name for field in fields(ImageFacts)]


def test_a_folder_that_a_worker_lacks_is_an_error_and_not_a_missing_image(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no such folder on host .* scan.cluster"):
        run(tmp_path / "elsewhere", ["a.jpg"])


# --- the keys of the caches


def room_imports(module: object) -> set[str]:
    """Modules of the validation room that a module needs, itself included, by reading the import statements."""
    folder = Path(str(checks.__file__)).parent
    found, todo = set(), [Path(str(module.__file__)).stem]
    while todo:
        name = todo.pop()
        found.add(name)
        for node in ast.walk(ast.parse((folder / f"{name}.py").read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("components.validation"):
                parts = (node.module or "").split(".")
                names = parts[2:] or [alias.name for alias in node.names]
                todo += [each for each in names if each not in found]
    return found


def test_the_scans_version_covers_every_module_that_decides_a_fact() -> None:
    covered = {Path(str(module.__file__)).stem for module in scanning._DECIDING} | {"scan"}
    assert "image_formats" in covered  # of the room below
    covered -= {"image_formats"}
    assert room_imports(scanning) - {"scan_cache"} == covered  # the cache only stores


def test_the_key_of_known_pairs_covers_every_module_that_decides_a_pair() -> None:
    covered = {Path(str(module.__file__)).stem for module in checks._DECIDING}
    assert room_imports(checks.duplicates) - room_imports(scanning) <= covered
    assert {"duplicates", "pixel_agreement", "hash_candidates", "neighbours", "perceptual_hash"} <= covered


def test_the_version_changes_with_the_code_and_the_key_with_code_and_settings(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before, settings = scanning.version(), NearDuplicates(distance=7, crops=True)
    key = checks._key(settings)
    assert checks._key(settings) == key
    assert checks._key(NearDuplicates(distance=6, crops=True)) != key
    assert checks._key(NearDuplicates(distance=7, crops=False)) != key
    changed = tmp_path / "changed.py"
    for module in {*scanning._DECIDING, *checks._DECIDING}:
        changed.write_text(Path(str(module.__file__)).read_text() + "# changed\n")
        with monkeypatch.context() as patched:
            patched.setattr(module, "__file__", str(changed))
            scanning.version.cache_clear()
            assert checks._key(settings) != key, module.__name__
            assert (scanning.version() != before) == (module in scanning._DECIDING)
        scanning.version.cache_clear()
    assert scanning.version() == before


# --- real images


@pytest.mark.real
def test_no_image_of_ham10000_has_a_problem(ham10000: Path, tmp_path: Path) -> None:
    names = sorted(path.relative_to(ham10000).as_posix() for path in ham10000.rglob("*.jpg"))
    assert len(names) == 10_015
    with open_executor(2, None) as executor:
        cold = run(ham10000, names, executor, cache=tmp_path)
        warm = run(ham10000, names, executor, cache=tmp_path)
    assert cold.facts["problem"].isna().all()
    assert cold.facts["identifying"].isna().all()
    assert (cold.decoded, warm.decoded) == (10_015, 0)
    pd.testing.assert_frame_equal(cold.facts, warm.facts)
