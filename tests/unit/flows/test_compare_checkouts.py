"""Two checkouts are equal where their bits are, and what differs is named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML
from safetensors.numpy import save_file

from components.base.errors import DataError
from flows.reproduction.compare_checkouts import compare_checkouts

PATHS = {
    "pixels": "data/pixels", "encoders": "data/encoders", "classifiers": "data/classifiers",
    "predictions": "data/predictions", "curves": "curves", "metrics": "metrics",
}  # fmt: skip
OUTS = ("data/encoders/vae-0.safetensors", "data/pixels/train", "curves/vae.csv", "metrics/vae.json", "reports/x.html")
METRICS = {"accuracy": 0.7, "kind": "vae", "by_class": {"mel": 0.5}}


def write_metrics(root: Path, **values: object) -> None:
    (root / "metrics/vae.json").write_text(json.dumps(METRICS | values))


@pytest.fixture
def there(tmp_path: Path) -> Path:
    """A checkout with an output of each kind."""
    root = tmp_path / "there"
    for out in OUTS:
        (root / out).parent.mkdir(parents=True, exist_ok=True)
    save_file({"w": np.arange(3, dtype=np.float32)}, root / OUTS[0])
    (root / "data/pixels/train").mkdir()
    np.save(root / "data/pixels/train/images.npy", np.zeros((2, 4, 4, 3), np.uint8))
    (root / "curves/vae.csv").write_text("epoch,loss\n0,0.5\n")
    (root / "reports/x.html").write_text("a page")
    write_metrics(root)
    yaml = YAML(typ="safe")
    with (root / "params.yaml").open("w") as file:
        yaml.dump({"paths": PATHS}, file)
    with (root / "dvc.lock").open("w") as file:
        yaml.dump({"stages": {"pretrain": {"outs": [{"path": out} for out in OUTS]}}}, file)
    return root


@pytest.fixture
def here(there: Path) -> Path:
    return Path(shutil.copytree(there, there.parent / "here"))


def test_a_copy_is_equal_and_pages_are_not_compared(there: Path, here: Path) -> None:
    (here / "reports/x.html").write_text("other words")
    found = compare_checkouts(there, here)
    assert found.equal
    assert found.lines() == [
        "3 of 3 files of weights, pixels, curves and predictions are equal to the last bit",
        "1 of 1 metrics files are equal within 1e-12; the largest distance of a number is 0",
    ]


def test_one_bit_of_a_weight_is_a_difference(there: Path, here: Path) -> None:
    save_file({"w": np.nextafter(np.arange(3, dtype=np.float32), 9)}, here / OUTS[0])
    found = compare_checkouts(there, here)
    assert not found.equal
    assert found.lines()[0].startswith("data/encoders/vae-0.safetensors: distance 1.19e-07")


def test_other_bytes_with_equal_tensors_are_a_difference(there: Path, here: Path) -> None:
    save_file({"w": np.arange(3, dtype=np.float32)}, here / OUTS[0], metadata={"a": "b"})
    assert not compare_checkouts(there, here).equal


def test_epochs_counted_from_0_before_are_no_difference(there: Path, here: Path) -> None:
    (there / "curves/vae.csv").write_text("epoch,loss\n0,0.5\n1,0.25\n")
    (here / "curves/vae.csv").write_text("epoch,loss\n1,0.5\n2,0.25\n")
    write_metrics(there, best_epoch=1)
    write_metrics(here, best_epoch=2)
    found = compare_checkouts(there, here)
    assert found.equal
    assert "1 curves count epochs from 0 there and from 1 here; that is no difference" in found.lines()
    (here / "curves/vae.csv").write_text("epoch,loss\n1,0.5\n2,0.26\n")
    assert not compare_checkouts(there, here).equal
    assert not compare_checkouts(here, there).equal


def test_metrics_may_move_in_the_last_digit(there: Path, here: Path) -> None:
    write_metrics(here, accuracy=0.7 + 1e-15)
    assert compare_checkouts(there, here).equal
    write_metrics(here, accuracy=0.7000001)
    found = compare_checkouts(there, here)
    assert not found.equal
    assert "  accuracy: 0.7 there, 0.7000001 here" in found.lines()


def test_words_and_new_names_are_listed_and_no_difference_of_numbers(there: Path, here: Path) -> None:
    write_metrics(here, kind="VAE", licence="none")
    found = compare_checkouts(there, here)
    assert found.equal
    assert found.lines()[0] == "metrics/vae.json: texts or names differ: kind, licence"


def test_a_file_of_one_side_is_named(there: Path, here: Path) -> None:
    (here / "data/pixels/train/images.npy").rename(here / "data/pixels/train/other.npy")
    found = compare_checkouts(there, here)
    assert found.missing == ("data/pixels/train/images.npy", "data/pixels/train/other.npy")
    assert not found.equal


def test_a_checkout_without_a_run_is_refused(tmp_path: Path, there: Path) -> None:
    with pytest.raises(DataError, match=r"dvc.lock is missing, expected a checkout in which a study was run"):
        compare_checkouts(there, tmp_path)
