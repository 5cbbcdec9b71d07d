"""From a folder of images, some of them bad, to accepted rows: each bad input is named, none passes."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from components.base.errors import DataError
from components.base.log import SilentLog
from components.data.adapters.ham10000 import Config as Ham10000
from components.data.labels import Labels
from components.data.privacy import pseudonym
from components.data.records import read_records, write_records
from components.validation.settings import Scan
from flows.settings.data import Privacy
from flows.stage_io.datasets import read_dataset, write_report
from flows.validate import validate
from tests.unit.flows.small_dataset import SPLIT, SmallDataset, limits, place


def test_a_sound_data_set_passes_whole(small_dataset: SmallDataset) -> None:
    metrics = small_dataset.validate()
    assert (metrics["rows"], metrics["accepted"], metrics["quarantined"]) == (20, 20, 0)
    assert metrics["classes"] == {"mel": 10, "nv": 10}
    assert small_dataset.quarantine().empty
    accepted = read_records(small_dataset.paths.accepted)
    for row in accepted.itertuples():
        assert row.sha256 == hashlib.sha256((small_dataset.root / str(row.path)).read_bytes()).hexdigest()
        assert (row.width, row.height) == (32, 24)
    assert small_dataset.paths.docs in [path for _, path in small_dataset.log.artifacts]


def test_every_bad_input_is_quarantined_with_its_reason(small_dataset: SmallDataset) -> None:
    cut = small_dataset.image("cut", "mel")
    cut.write_bytes(cut.read_bytes()[:-200])
    small_dataset.image("empty", "nv").write_bytes(b"")
    small_dataset.image("text", "nv").write_text("no image")
    small_dataset.image("lied", "nv").rename(small_dataset.root / "lied.jpg")
    small_dataset.rows[-1]["path"] = "lied.jpg"
    small_dataset.row("gone", "gone.png", "mel")
    small_dataset.row("leaves", "../secret.png", "mel")
    small_dataset.image("link", "mel").rename(small_dataset.root.parent / "elsewhere.png")
    (small_dataset.root / "link.png").symlink_to(small_dataset.root.parent / "elsewhere.png")
    small_dataset.image("twice", "mel")
    small_dataset.rows.append(small_dataset.rows[0] | {"image_id": "twice"})
    small_dataset.image("wart", "verruca")
    small_dataset.image("tiny", "mel", side=15)
    small_dataset.image("old", "nv", age=200)
    small_dataset.image("one", "mel", seed=99)
    small_dataset.image("other", "nv", seed=99)
    metrics = small_dataset.validate()
    found = small_dataset.quarantine()
    assert sorted(zip(found["image_id"], found["rule"], strict=True)) == [
        ("cut", "image.corrupt"),
        ("empty", "image.empty"),
        ("gone", "image.missing"),
        ("leaves", "image.outside_folder"),
        ("leaves", "path.inside"),
        ("lied", "image.wrong_extension"),
        ("link", "image.outside_folder"),
        ("old", "age.range"),
        ("one", "image.duplicate_with_other_label"),
        ("other", "image.duplicate_with_other_label"),
        ("text", "image.not_an_image"),
        ("tiny", "image.too_small"),
        ("twice", "image_id.unique"),
        ("twice", "image_id.unique"),
        ("wart", "diagnosis.outside_map"),
    ]
    assert (found[["value", "expected", "fix"]].map(len) > 2).all(axis=None)
    assert (metrics["quarantined"], metrics["accepted"]) == (14, 20)
    assert metrics["quarantined_by_rule"] == found.groupby("rule").size().to_dict()
    values = found.set_index("rule")["value"]
    assert values["image.too_small"] == "23 x 15 pixels"
    assert values["diagnosis.outside_map"] == "verruca"
    assert found.set_index("image_id").loc["one", "value"] == "mel, but the same file is other (nv)"
    assert set(read_records(small_dataset.paths.accepted)["image_id"]) == {
        f"{c}{n}" for c in ("mel", "nv") for n in range(10)
    }
    problems = read_records(small_dataset.paths.facts).set_index("image_id")["problem"]
    assert problems["cut"] == "corrupt" and pd.isna(problems["mel0"])


def test_too_many_bad_rows_stop_the_run_and_leave_the_quarantine(small_dataset: SmallDataset) -> None:
    for n in range(3):
        (small_dataset.root / f"mel{n}.png").write_bytes(b"")
    message = (
        r"3 of 20 rows cannot be used \(15\.0%\), expected at most 10\.0% "
        r"\(validate\.max_quarantined_share, params\.yaml\)\nby rule: image\.empty 3\n"
    )
    with pytest.raises(DataError, match=message) as caught:
        small_dataset.validate(max_quarantined_share=0.1)
    assert str(small_dataset.paths.quarantine) in str(caught.value)
    assert small_dataset.quarantine()["image_id"].tolist() == ["mel0", "mel1", "mel2"]
    assert small_dataset.validate(max_quarantined_share=0.15)["quarantined"] == 3


def test_images_without_a_row_are_reported_and_do_no_harm(small_dataset: SmallDataset) -> None:
    (small_dataset.root / "mel0.png").rename(small_dataset.root / "orphan.png")
    (small_dataset.root / "mel0.png").write_bytes((small_dataset.root / "orphan.png").read_bytes())
    metrics = small_dataset.validate(max_quarantined_share=0)
    assert (metrics["orphans"], metrics["quarantined"]) == (1, 0)
    assert "1 image files have no row and are left out" in small_dataset.log.lines


def test_a_copy_under_another_patient_is_grouped_and_shown_for_review(small_dataset: SmallDataset) -> None:
    lesion = small_dataset.picture("first", "mel", 5, patient_id="p1")
    with Image.open(lesion) as image:
        image.resize((60, 48)).rotate(90, expand=True).save(small_dataset.root / "turned.jpg", quality=60)
    small_dataset.row("turned", "turned.jpg", "mel", patient_id="p2")
    metrics = small_dataset.validate()
    assert (metrics["near_duplicate_pairs"], metrics["pairs_to_review"], metrics["quarantined"]) == (1, 1, 0)
    twins = read_records(small_dataset.paths.accepted).set_index("image_id")["twins"].dropna()
    assert twins.to_dict() == {"first": "first", "turned": "first"}
    small_dataset.split()
    split = pd.read_csv(small_dataset.paths.split, index_col="image_id")
    assert split.loc["first", "split"] == split.loc["turned", "split"]
    page = (small_dataset.paths.reports / "data.html").read_text()
    assert "turned" in page
    assert "turned.jpg" not in page


def test_a_person_can_accept_an_image_that_can_be_used(small_dataset: SmallDataset) -> None:
    small_dataset.image("tiny", "mel", side=8)
    by_hand = small_dataset.root / "accepted_by_hand.csv"
    assert small_dataset.validate(max_quarantined_share=0.1)["quarantined_by_rule"] == {"image.too_small": 1}
    by_hand.write_text("image_id,rule,who,why\ntiny,image.too_small,Dr. A,the only one of its kind\n")
    metrics = small_dataset.validate(max_quarantined_share=0)
    assert (metrics["quarantined"], metrics["accepted_by_hand"]) == (0, {"image.too_small": 1})
    assert "the only one of its kind" in (small_dataset.paths.reports / "data.html").read_text()
    small_dataset.rows = small_dataset.rows[:-1]
    with pytest.raises(DataError, match=r"1 entries name no image of this data set \(line 2\)"):
        small_dataset.validate()


@pytest.mark.parametrize("name", ["tiny", "tiny.png", "PSEUDONYM"])
def test_with_a_secret_key_an_image_is_accepted_by_its_id_path_or_pseudonym(
    small_dataset: SmallDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / "key").write_text("k" * 40)
    monkeypatch.setenv("DERMFLOW_KEY_FILE", str(tmp_path / "key"))
    small_dataset.image("tiny", "mel", side=8)
    hidden = pseudonym("image", "SYNTHETIC", "tiny", b"k" * 40)
    entry = f"{name.replace('PSEUDONYM', hidden)},image.too_small,Dr. A,the only one of its kind"
    (small_dataset.root / "accepted_by_hand.csv").write_text(f"image_id,rule,who,why\n{entry}\n")
    metrics = small_dataset.validate(max_quarantined_share=0, key=b"k" * 40)
    assert (metrics["quarantined"], metrics["accepted_by_hand"]) == (0, {"image.too_small": 1})
    way = {"tiny": "id of the data set", "tiny.png": "path", "PSEUDONYM": "id"}[name]
    assert f"accepted_by_hand.csv: 1 entries, whose images were found 1 by {way}" in small_dataset.log.lines


def test_a_data_set_is_compared_with_the_version_that_was_accepted(small_dataset: SmallDataset, tmp_path: Path) -> None:
    accepted = tmp_path / "validation.json"
    accepted.write_text(json.dumps(small_dataset.validate()))
    assert small_dataset.validate(reference=str(accepted))["accepted"] == 20
    for n in range(12):
        small_dataset.image(f"more{n}", "mel")
    with pytest.raises(DataError, match=r"(?s)not accepted.*share.* mel.*max_share_drift"):
        small_dataset.validate(reference=str(accepted))
    with pytest.raises(DataError, match=r"validate.reference = 'v9' \(params.yaml\) is no accepted version"):
        small_dataset.validate(reference="v9")


def test_nothing_changed_means_nothing_is_decoded(small_dataset: SmallDataset) -> None:
    small_dataset.validate()
    facts = small_dataset.paths.facts.read_bytes()
    small_dataset.validate()
    assert small_dataset.log.lines[-1] == "20 of 20 images accepted, 0 decoded in this run"
    small_dataset.image("new", "mel")
    small_dataset.validate()
    assert small_dataset.log.lines[-1] == "21 of 21 images accepted, 1 decoded in this run"
    assert small_dataset.paths.facts.read_bytes() != facts


def test_the_page_is_there_when_the_run_stops(small_dataset: SmallDataset) -> None:
    small_dataset.image("broken", "mel").write_bytes(b"")
    with pytest.raises(DataError, match="1 of 21 rows cannot be used"):
        small_dataset.validate(max_quarantined_share=0)
    assert "image.empty" in (small_dataset.paths.reports / "data.html").read_text()


def test_a_class_with_too_few_groups_stops_the_run(small_dataset: SmallDataset) -> None:
    for row in small_dataset.rows:
        if row["diagnosis"] == "mel":
            row["patient_id"] = f"p{int(str(row['image_id'])[3:]) % 2}"
    message = r"groups of class mel: 2, expected at least 3 .*validate\.min_groups_per_class \(params\.yaml\)"
    with pytest.raises(DataError, match=message):
        small_dataset.validate()
    assert list(small_dataset.paths.docs.rglob("*.html"))


def test_missing_ages_stop_the_run_when_they_are_too_many(small_dataset: SmallDataset) -> None:
    message = r"share of rows with age: 0, expected at least 0\.4 .*validate\.max_missing_share"
    with pytest.raises(DataError, match=message):
        small_dataset.validate(max_missing_share=0.6)


def test_equal_files_with_one_label_stay_and_stay_together(small_dataset: SmallDataset) -> None:
    small_dataset.image("left", "mel", seed=99, lesion_id="l1")
    small_dataset.image("right", "mel", seed=99, lesion_id="l2")
    small_dataset.image("bare", None, seed=99, lesion_id="l3")
    assert small_dataset.validate()["exact_duplicate_groups"] == 1
    small_dataset.split()
    groups = pd.read_csv(small_dataset.paths.split, index_col="image_id")["group"]
    assert groups["left"] == groups["right"] == groups["bare"] == "bare"


def test_no_usable_row_is_no_data_set(small_dataset: SmallDataset) -> None:
    for row in small_dataset.rows:
        (small_dataset.root / str(row["path"])).write_bytes(b"")
    with pytest.raises(DataError, match="no row can be used"):
        small_dataset.validate(max_quarantined_share=1)


def test_a_table_that_cannot_be_written_is_named(small_dataset: SmallDataset) -> None:
    small_dataset.paths.records.parent.mkdir(parents=True)
    blocked = small_dataset.root.parent / "file"
    blocked.write_text("in the way")
    small_dataset.paths = small_dataset.paths.model_copy(update={"quarantine": blocked / "quarantine.csv"})
    with pytest.raises(DataError, match=rf"{re.escape(str(blocked))}/quarantine.csv: cannot be written"):
        small_dataset.validate()


def test_the_same_input_gives_the_same_bytes_with_one_process_or_two(small_dataset: SmallDataset) -> None:
    small_dataset.image("bare", None)
    first = small_dataset.validate()
    names = ("facts", "accepted", "quarantine")
    before = {name: getattr(small_dataset.paths, name).read_bytes() for name in names}
    small_dataset.rows.reverse()
    assert json.dumps(small_dataset.validate(workers=2)) == json.dumps(first)
    assert {name: getattr(small_dataset.paths, name).read_bytes() for name in names} == before


@pytest.mark.real
def test_ham10000_is_accepted_with_its_two_pairs_of_equal_files(ham10000: Path, tmp_path: Path) -> None:
    dataset, paths = Ham10000(path=ham10000), place(tmp_path)
    words = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
    labels = Labels(scheme="seven", schemes={"seven": {word: (word,) for word in words}})
    table, report = read_dataset(dataset, labels, Privacy(key="public"), key=b"")
    write_records(table, paths.records)
    write_report(report, paths.read_report, Privacy(key="public"), SilentLog())
    metrics = validate.work(
        dataset=dataset, labels=labels, privacy=Privacy(key="public"), split=SPLIT,
        validate=limits(max_quarantined_share=0), scan=Scan(workers=1, cluster=None), paths=paths,
        log=SilentLog(),
    )  # fmt: skip
    assert (metrics["accepted"], metrics["orphans"], metrics["exact_duplicate_groups"]) == (10015, 0, 2)
    accepted = read_records(paths.accepted)
    repeated = accepted[accepted["sha256"].duplicated(keep=False)].groupby("sha256")["image_id"].agg(tuple)
    assert sorted(repeated) == [("ISIC_0024366", "ISIC_0029861"), ("ISIC_0024777", "ISIC_0029938")]
