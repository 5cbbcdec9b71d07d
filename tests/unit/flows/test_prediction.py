"""`dermflow predict`: every image has a row, bad ones a reason; a stopped command continues; formats agree."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from components.base.errors import CheckpointError, DataError, RunError
from components.base.log import SilentLog
from components.deployment.bundle import open_bundle
from components.deployment.predictor import Predictor
from flows.prediction import table as prediction
from flows.prediction.inputs import find_images
from flows.prediction.models import find_bundle
from flows.prediction.table import predict_table
from tests.unit.training.small_trainings import CLASSES, SIDE


@pytest.fixture(scope="module")
def predictor(bundle_folder: Path) -> Predictor:
    return Predictor.open(open_bundle(bundle_folder), device="cpu")


def write_images(folder: Path, count: int) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    paths = [folder / f"{place:02d}.png" for place in range(count)]
    for path in paths:
        Image.fromarray(rng.integers(0, 256, (SIDE + 5, SIDE, 3), dtype=np.uint8)).save(path)
    return paths


def predict(named: list[Path], predictor: Predictor, out: Path, column: str | None = None) -> pd.DataFrame:
    predict_table(find_images(named, column), predictor, out, 2, SilentLog())
    return pd.read_parquet(out) if out.suffix == ".parquet" else pd.read_csv(out)


def test_every_image_of_a_folder_has_a_row_and_a_bad_one_its_reason(tmp_path: Path, predictor: Predictor) -> None:
    paths = write_images(tmp_path / "a" / "deep", 5)
    (tmp_path / "a" / "cut.png").write_bytes(paths[0].read_bytes()[:300])
    (tmp_path / "a" / "empty.jpg").touch()
    (tmp_path / "a" / "notes.txt").write_text("no image")
    inputs = find_images([tmp_path / "a"])
    assert inputs.notes == (f"{tmp_path / 'a'}: 1 files are no images and were left out",)
    found = predict_table(inputs, predictor, tmp_path / "out.parquet", 2, SilentLog())
    assert (found.images, found.failed) == (7, 2)
    table = pd.read_parquet(tmp_path / "out.parquet").set_index("image")
    assert table["error"].notna().sum() == 2
    assert "corrupt" in table.loc[str(tmp_path / "a" / "cut.png"), "error"]
    assert table.loc[str(tmp_path / "a" / "empty.jpg"), "error"] == "empty: 0 bytes"
    good = table[table["error"].isna()]
    assert good[[f"p_{name}" for name in CLASSES]].sum(axis=1).to_numpy() == pytest.approx(1)
    pixels = np.stack([predictor.read(Path(name).read_bytes()) for name in good.index])
    expected = predictor.predict(pixels)
    assert good["predicted"].tolist() == expected["predicted"].tolist()
    np.testing.assert_allclose(good["p_malignant"], expected["p_malignant"], rtol=1e-6)
    assert table[table["error"].notna()]["predicted"].isna().all()


def test_csv_and_parquet_hold_the_same(tmp_path: Path, predictor: Predictor) -> None:
    write_images(tmp_path / "a", 4)
    parquet = predict([tmp_path / "a"], predictor, tmp_path / "out.parquet")
    csv = predict([tmp_path / "a"], predictor, tmp_path / "out.csv")
    assert csv.columns.tolist() == parquet.columns.tolist()
    assert csv["set"].tolist() == ["; ".join(each) for each in parquet["set"]]
    assert csv["image"].tolist() == parquet["image"].tolist()
    np.testing.assert_allclose(csv["p_malignant"], parquet["p_malignant"], rtol=1e-12)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "out.csv", "out.parquet"]


def test_a_stopped_command_continues_and_gives_the_same_table(
    tmp_path: Path, predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prediction, "PART", 3)
    write_images(tmp_path / "a", 8)
    whole = predict([tmp_path / "a"], predictor, tmp_path / "whole.parquet")
    answer, calls = Predictor.predict_batches, 0

    def stops(self: Predictor, *given: object) -> pd.DataFrame:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return answer(self, *given)

    monkeypatch.setattr(Predictor, "predict_batches", stops)
    inputs, out = find_images([tmp_path / "a"]), tmp_path / "out.parquet"
    with pytest.raises(KeyboardInterrupt):
        predict_table(inputs, predictor, out, 2, SilentLog())
    assert not out.exists()
    log = SilentLog()
    predict_table(inputs, predictor, out, 2, log)
    assert calls == 4  # the third part alone was computed again
    assert any("2 of 3 parts are there, continuing" in line for line in log.lines)
    pd.testing.assert_frame_equal(pd.read_parquet(out), whole)
    assert not (tmp_path / "out.parquet.parts").exists()


def test_parts_of_other_images_are_not_used(
    tmp_path: Path, predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_images(tmp_path / "a", 2)
    with monkeypatch.context() as patched:
        patched.setattr(prediction, "_join", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            predict([tmp_path / "a"], predictor, tmp_path / "out.parquet")
    write_images(tmp_path / "a", 3)
    (tmp_path / "a" / "00.png").touch()
    with pytest.raises(RunError, match=r"out.parquet.parts: holds parts of an earlier command with other images"):
        predict([tmp_path / "a"], predictor, tmp_path / "out.parquet")


def test_a_table_names_images_by_a_column(tmp_path: Path, predictor: Predictor) -> None:
    write_images(tmp_path / "a", 3)
    file = tmp_path / "list.csv"
    file.write_text("path;site\na/00.png;back\na/none.png;back\n;back\n/etc/hostname;back\na/00.png;arm\n")
    table = predict([file], predictor, tmp_path / "out.parquet")
    assert len(table) == 4  # the image that was named twice has one row
    assert table["error"].isna().tolist() == [True, False, False, False]
    assert "names no file in this row" in table["error"][2]
    with pytest.raises(DataError, match=r"list.csv: has no column 'image', expected one of \['path', 'site'\]"):
        find_images([file], "image")


def test_members_of_a_tar_are_predicted(tmp_path: Path, predictor: Predictor) -> None:
    path = write_images(tmp_path / "a", 1)[0]
    folder = tmp_path / "shards"
    folder.mkdir()
    with tarfile.open(folder / "000.tar", "w") as tar:
        data = path.read_bytes()
        member = tarfile.TarInfo("x/lesion.png")
        member.size = len(data)
        tar.addfile(member, io.BytesIO(data))
    inside = predict([folder], predictor, tmp_path / "inside.parquet")
    outside = predict([path], predictor, tmp_path / "outside.parquet")
    assert inside["image"].tolist() == [str(folder / "000.tar/x/lesion.png")]
    pd.testing.assert_frame_equal(inside.drop(columns="image"), outside.drop(columns="image"))


@pytest.mark.parametrize(("name", "message"), [("none", "does not exist"), ("empty", "no image there")])
def test_no_image_is_an_error(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=message):
        find_images([tmp_path / name])


def test_a_table_of_another_format_is_refused(tmp_path: Path, predictor: Predictor) -> None:
    write_images(tmp_path / "a", 1)
    (tmp_path / "kept.parquet").mkdir()
    for name in ("out.xlsx", "kept.parquet"):
        with pytest.raises(RunError, match=rf"{name}: expected a file whose name ends with .parquet or .csv"):
            predict([tmp_path / "a"], predictor, tmp_path / name)
    assert (tmp_path / "kept.parquet").is_dir()


@pytest.mark.parametrize("bad", [(0, 1, 2), (3, 4, 5), range(6)])
def test_a_part_without_any_readable_image_ends_nothing(
    tmp_path: Path, predictor: Predictor, monkeypatch: pytest.MonkeyPatch, bad: tuple[int, ...]
) -> None:
    monkeypatch.setattr(prediction, "PART", 3)
    paths = write_images(tmp_path / "a", 6)
    for place in bad:
        paths[place].write_bytes(b"broken")
    for name in ("out.parquet", "out.csv"):
        table = predict([tmp_path / "a"], predictor, tmp_path / name)
        assert table["error"].notna().tolist() == [place in bad for place in range(6)]


def test_a_name_that_a_spreadsheet_would_compute_stays_text(
    tmp_path: Path, predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_images(tmp_path, 1)[0]
    path.rename(tmp_path / "=1+1.png")
    monkeypatch.chdir(tmp_path)
    table = predict([Path("=1+1.png")], predictor, tmp_path / "out.csv")
    assert table["image"].tolist() == ["'=1+1.png"]
    assert predict([Path("=1+1.png")], predictor, tmp_path / "out.parquet")["image"].tolist() == ["=1+1.png"]


def test_an_image_that_is_named_twice_has_one_row(tmp_path: Path) -> None:
    path = write_images(tmp_path / "a" / "b", 1)[0]
    found = find_images([tmp_path / "a", tmp_path / "a" / "b", path])
    assert len(found.images) == 1
    assert found.notes == ("2 images were named twice and get one row each",)


def test_a_link_that_is_named_itself_is_followed(tmp_path: Path, predictor: Predictor) -> None:
    path = write_images(tmp_path / "a" / "b", 1)[0]
    (tmp_path / "link.png").symlink_to(path)
    table = predict([tmp_path / "link.png"], predictor, tmp_path / "out.parquet")
    assert table["image"].tolist() == [str(tmp_path / "link.png")]
    assert table["error"].isna().all()


def test_the_bundle_of_the_checkout_or_a_named_one_is_used(predictor: Predictor, tmp_path: Path) -> None:
    folder = predictor.bundle.folder
    assert find_bundle(None, folder).sha256 == find_bundle(str(folder), tmp_path).sha256 == predictor.bundle.sha256
    with pytest.raises(RunError, match=r"has no bundle.json; the stage bundle makes it \(dvc repro bundle\)"):
        find_bundle(None, tmp_path)
    (tmp_path / "bundle.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"is of version None, expected 1"):
        find_bundle(str(tmp_path), folder)
