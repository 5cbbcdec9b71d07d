"""From a folder of images, some of them bad, to packed splits: each bad input is named, none passes."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from components.base.config import Frozen
from components.base.errors import DataError, LeakError
from components.base.log import SilentLog
from components.data.adapters.folder import Config as Own
from components.data.adapters.ham10000 import Config as Ham10000
from components.data.labels import Labels
from components.data.pixels import read_pixels, square
from components.data.records import apply_labels, conform, read_records, write_records
from components.validation.scan import decode
from flows.admit import admit
from flows.pack import pack
from flows.settings.data import Cohort, Pack, Privacy, Scan, Split, Validate
from flows.settings.study import Compute, Paths
from flows.split import split
from flows.validate import validate

LABELS = Labels(scheme="two", schemes={"two": {"mel": ("mel",), "nv": ("nv", "naevus")}})
SPLIT = Split(group_by=("patient_id", "lesion_id"), train=0.6, val=0.2, test=0.2, seed=0)
PACK = Pack(image_size=16, fit="crop")
COMPUTE = Compute(device="cpu", threads=2, precision="auto", compile=False)


def limits(**changes: object) -> Validate:
    plain = {"max_quarantined_share": 0.5, "min_side": 16, "min_groups_per_class": 3, "max_missing_share": None}
    plain |= {"admit": (), "near_duplicates": {"distance": 7, "crops": True}, "reference": None, "limits": {}}
    return Validate.model_validate(plain | {} | changes)


class Folder(Frozen):
    """An adapter that has read already."""

    kind: str = "folder"
    path: Path

    def read(self) -> pd.DataFrame:
        raise NotImplementedError


def draw_picture(seed: int) -> Image.Image:
    rng = np.random.default_rng(seed)
    layers = [Image.fromarray(rng.integers(0, 256, (n, n, 3), dtype=np.uint8)).resize((120, 96)) for n in (4, 12, 40)]
    return Image.blend(Image.blend(layers[0], layers[1], 0.5), layers[2], 0.3)


@dataclass
class Study:
    """A data set of sound images on disk, and a place for what stages make."""

    root: Path
    paths: Paths
    rows: list[dict[str, object]] = field(default_factory=list)
    log: SilentLog = field(default_factory=SilentLog)

    def image(self, name: str, diagnosis: str | None, seed: int | None = None, side: int = 24, **more: object) -> Path:
        """Draw an image, give it a row, and return its path."""
        rng = np.random.default_rng(len(self.rows) if seed is None else seed)
        file = self.root / f"{name}.png"
        Image.fromarray(rng.integers(0, 256, (side, side + 8, 3), dtype=np.uint8)).save(file)
        self.row(name, f"{name}.png", diagnosis, **more)
        return file

    def picture(self, name: str, diagnosis: str, seed: int, **more: object) -> Path:
        """A picture with coarse and fine structure, unlike noise: its copies can be known again."""
        file = self.root / f"{name}.png"
        draw_picture(seed).save(file)
        self.row(name, f"{name}.png", diagnosis, **more)
        return file

    def row(self, name: str, path: str, diagnosis: str | None, **more: object) -> None:
        self.rows.append({"image_id": name, "path": path, "diagnosis": diagnosis, "source": "SYNTHETIC"} | more)

    def validate(self, workers: int = 1, **changes: object) -> dict[str, object]:
        table = apply_labels(conform(pd.DataFrame(self.rows), "test"), LABELS.mapping)
        write_records(table, self.paths.records)
        return dict(
            validate.work(
                dataset=Folder(path=self.root), labels=LABELS, split=SPLIT, validate=limits(**changes),
                scan=Scan(workers=workers, cluster=None), paths=self.paths, log=self.log,
            )
        )  # fmt: skip

    def split(self, settings: Split = SPLIT) -> dict[str, object]:
        return dict(split.work(split=settings, labels=LABELS, paths=self.paths, log=self.log))

    def pack(self) -> dict[str, object]:
        return dict(
            pack.work(
                dataset=Folder(path=self.root), labels=LABELS, pack=PACK, paths=self.paths, compute=COMPUTE,
                log=self.log,
            )
        )  # fmt: skip

    def quarantine(self) -> pd.DataFrame:
        return pd.read_csv(self.paths.quarantine, dtype="str", keep_default_na=False)


def place(root: Path) -> Paths:
    names = {name: root / name for name in Paths.model_fields}
    files = {name: root / f"{name}.parquet" for name in ("records", "facts", "accepted")}
    return Paths.model_construct(**names | files)


@pytest.fixture
def study(tmp_path: Path) -> Study:
    (tmp_path / "images").mkdir()
    made = Study(tmp_path / "images", place(tmp_path / "made"))
    for n in range(10):
        made.image(f"mel{n}", "mel")
        made.image(f"nv{n}", "nv" if n % 2 else "naevus")
    return made


def test_a_sound_data_set_passes_whole(study: Study) -> None:
    metrics = study.validate()
    assert (metrics["rows"], metrics["accepted"], metrics["quarantined"]) == (20, 20, 0)
    assert metrics["classes"] == {"mel": 10, "nv": 10}
    assert study.quarantine().empty
    accepted = read_records(study.paths.accepted)
    for row in accepted.itertuples():
        assert row.sha256 == hashlib.sha256((study.root / str(row.path)).read_bytes()).hexdigest()
        assert (row.width, row.height) == (32, 24)
    assert study.paths.docs in [path for _, path in study.log.artifacts]


def test_every_bad_input_is_quarantined_with_its_reason(study: Study) -> None:
    cut = study.image("cut", "mel")
    cut.write_bytes(cut.read_bytes()[:-200])
    study.image("empty", "nv").write_bytes(b"")
    study.image("text", "nv").write_text("no image")
    study.image("lied", "nv").rename(study.root / "lied.jpg")
    study.rows[-1]["path"] = "lied.jpg"
    study.row("gone", "gone.png", "mel")
    study.row("leaves", "../secret.png", "mel")
    study.image("link", "mel").rename(study.root.parent / "elsewhere.png")
    (study.root / "link.png").symlink_to(study.root.parent / "elsewhere.png")
    study.image("twice", "mel")
    study.rows.append(study.rows[0] | {"image_id": "twice"})
    study.image("wart", "verruca")
    study.image("tiny", "mel", side=15)
    study.image("old", "nv", age=200)
    study.image("one", "mel", seed=99)
    study.image("other", "nv", seed=99)
    metrics = study.validate()
    found = study.quarantine()
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
    assert (found[["value", "expected", "mend"]].map(len) > 2).all(axis=None)
    assert (metrics["quarantined"], metrics["accepted"]) == (14, 20)
    assert metrics["quarantined_by_rule"] == found.groupby("rule").size().to_dict()
    values = found.set_index("rule")["value"]
    assert values["image.too_small"] == "23 x 15 pixels"
    assert values["diagnosis.outside_map"] == "verruca"
    assert found.set_index("image_id").loc["one", "value"] == "mel, but the same file is other (nv)"
    assert set(read_records(study.paths.accepted)["image_id"]) == {f"{c}{n}" for c in ("mel", "nv") for n in range(10)}
    problems = read_records(study.paths.facts).set_index("image_id")["problem"]
    assert problems["cut"] == "corrupt" and pd.isna(problems["mel0"])


def test_too_many_bad_rows_stop_the_run_and_leave_the_quarantine(study: Study) -> None:
    for n in range(3):
        (study.root / f"mel{n}.png").write_bytes(b"")
    message = (
        r"3 of 20 rows cannot be used \(15\.0%\), expected at most 10\.0% "
        r"\(validate\.max_quarantined_share, params\.yaml\)\nby rule: image\.empty 3\nfirst: mel0 image\.empty = "
    )
    with pytest.raises(DataError, match=message) as caught:
        study.validate(max_quarantined_share=0.1)
    assert str(study.paths.quarantine) in str(caught.value)
    assert study.quarantine()["image_id"].tolist() == ["mel0", "mel1", "mel2"]
    assert study.validate(max_quarantined_share=0.15)["quarantined"] == 3


def test_images_without_a_row_are_told_and_do_no_harm(study: Study) -> None:
    (study.root / "mel0.png").rename(study.root / "orphan.png")
    (study.root / "mel0.png").write_bytes((study.root / "orphan.png").read_bytes())
    metrics = study.validate(max_quarantined_share=0)
    assert (metrics["orphans"], metrics["quarantined"]) == (1, 0)
    assert "1 image files have no row and are left out" in study.log.lines


def test_a_copy_under_another_patient_is_grouped_and_shown_for_review(study: Study) -> None:
    lesion = study.picture("first", "mel", 5, patient_id="p1")
    with Image.open(lesion) as image:
        image.resize((60, 48)).rotate(90, expand=True).save(study.root / "turned.jpg", quality=60)
    study.row("turned", "turned.jpg", "mel", patient_id="p2")
    metrics = study.validate()
    assert (metrics["near_duplicate_pairs"], metrics["pairs_to_review"], metrics["quarantined"]) == (1, 1, 0)
    twins = read_records(study.paths.accepted).set_index("image_id")["twins"].dropna()
    assert twins.to_dict() == {"first": "first", "turned": "first"}
    study.split()
    split = pd.read_csv(study.paths.split, index_col="image_id")
    assert split.loc["first", "split"] == split.loc["turned", "split"]
    page = (study.paths.reports / "data.html").read_text()
    assert "turned" in page
    assert "turned.jpg" not in page


def test_a_person_can_accept_what_can_be_used(study: Study) -> None:
    study.image("tiny", "mel", side=8)
    by_hand = study.root / "accepted_by_hand.csv"
    assert study.validate(max_quarantined_share=0.1)["quarantined_by_rule"] == {"image.too_small": 1}
    by_hand.write_text("image_id,rule,who,why\ntiny,image.too_small,Dr. A,the only one of its kind\n")
    metrics = study.validate(max_quarantined_share=0)
    assert (metrics["quarantined"], metrics["accepted_by_hand"]) == (0, {"image.too_small": 1})
    assert "the only one of its kind" in (study.paths.reports / "data.html").read_text()
    study.rows = study.rows[:-1]
    with pytest.raises(DataError, match="line 2: image_id is 'tiny', expected an image of this data set"):
        study.validate()


def test_a_data_set_is_held_against_the_version_that_was_accepted(study: Study, tmp_path: Path) -> None:
    accepted = tmp_path / "validation.json"
    accepted.write_text(json.dumps(study.validate()))
    assert study.validate(reference=str(accepted))["accepted"] == 20
    for n in range(12):
        study.image(f"more{n}", "mel")
    with pytest.raises(DataError, match=r"(?s)not accepted.*share.* mel.*max_share_drift"):
        study.validate(reference=str(accepted))
    with pytest.raises(DataError, match=r"validate.reference = 'v9' \(params.yaml\) is no accepted version"):
        study.validate(reference="v9")


def test_nothing_changed_means_nothing_is_looked_at(study: Study) -> None:
    study.validate()
    facts = study.paths.facts.read_bytes()
    study.validate()
    assert study.log.lines[-1] == "20 of 20 images accepted, 0 of them looked at anew"
    study.image("new", "mel")
    study.validate()
    assert study.log.lines[-1] == "21 of 21 images accepted, 1 of them looked at anew"
    assert study.paths.facts.read_bytes() != facts


def test_the_page_is_there_when_the_run_stops(study: Study) -> None:
    study.image("broken", "mel").write_bytes(b"")
    with pytest.raises(DataError, match="1 of 21 rows cannot be used"):
        study.validate(max_quarantined_share=0)
    assert "image.empty" in (study.paths.reports / "data.html").read_text()


def admit_as(study: Study, name: str, folder: Path, at_most: float = 0.5, **diagnoses: str | None) -> dict[str, object]:
    """Admit the folder's images, a class a subfolder, as an external cohort."""
    cohort = Cohort(name=name, dataset=Own(path=folder), diagnoses=diagnoses)
    return dict(
        admit.work(
            cohort=name, external=[cohort], dataset=Folder(path=study.root), labels=LABELS,
            privacy=Privacy(key="public"), validate=limits(max_quarantined_share=at_most),
            scan=Scan(workers=1, cluster=None), paths=study.paths, log=study.log,
        )
    )  # fmt: skip


def test_an_external_set_is_admitted_unless_it_holds_what_is_learned_from(study: Study, tmp_path: Path) -> None:
    study.validate()
    study.split()
    split = pd.read_csv(study.paths.split, index_col="image_id")["split"]
    theirs = tmp_path / "theirs"
    (theirs / "mel").mkdir(parents=True)
    draw_picture(99).save(theirs / "mel" / "new.png")
    assert admit_as(study, "clinic", theirs)["accepted"] == 1
    assert read_records(study.paths.external / "clinic.parquet")["image_id"].tolist() == ["mel/new.png"]

    tested, learned = (split.index[split == side][0] for side in ("test", "train"))
    shutil.copy(study.root / f"{tested}.png", theirs / "mel" / "tested.png")
    with pytest.raises(LeakError, match=rf"image mel/tested.png .* image {tested}, .* test: a drop between the two"):
        admit_as(study, "clinic", theirs)
    (theirs / "mel" / "tested.png").unlink()
    shutil.copy(study.root / f"{learned}.png", theirs / "mel" / "learned.png")
    with pytest.raises(
        LeakError, match=rf"external test set clinic: image mel/learned.png .* image {learned}, .* train"
    ):
        admit_as(study, "clinic", theirs)


def test_a_class_with_too_few_groups_stops_the_run(study: Study) -> None:
    for row in study.rows:
        if row["diagnosis"] == "mel":
            row["patient_id"] = f"p{int(str(row['image_id'])[3:]) % 2}"
    message = r"groups of class mel: 2, expected at least 3 .*validate\.min_groups_per_class \(params\.yaml\)"
    with pytest.raises(DataError, match=message):
        study.validate()
    assert list(study.paths.docs.rglob("*.html"))


def test_missing_ages_stop_the_run_when_they_are_too_many(study: Study) -> None:
    message = r"share of rows with age: 0, expected at least 0\.4 .*validate\.max_missing_share"
    with pytest.raises(DataError, match=message):
        study.validate(max_missing_share=0.6)


def test_equal_files_with_one_label_stay_and_stay_together(study: Study) -> None:
    study.image("left", "mel", seed=99, lesion_id="l1")
    study.image("right", "mel", seed=99, lesion_id="l2")
    study.image("bare", None, seed=99, lesion_id="l3")
    assert study.validate()["exact_duplicate_groups"] == 1
    study.split()
    groups = pd.read_csv(study.paths.split, index_col="image_id")["group"]
    assert groups["left"] == groups["right"] == groups["bare"] == "bare"


def test_no_usable_row_is_no_data_set(study: Study) -> None:
    for row in study.rows:
        (study.root / str(row["path"])).write_bytes(b"")
    with pytest.raises(DataError, match="no row is left to learn from"):
        study.validate(max_quarantined_share=1)


def test_a_table_that_cannot_be_written_is_named(study: Study) -> None:
    study.paths.records.parent.mkdir(parents=True)
    blocked = study.root.parent / "file"
    blocked.write_text("in the way")
    study.paths = study.paths.model_copy(update={"quarantine": blocked / "quarantine.csv"})
    with pytest.raises(DataError, match=rf"{re.escape(str(blocked))}/quarantine.csv: cannot be written"):
        study.validate()


def test_the_same_input_gives_the_same_bytes_with_one_process_or_two(study: Study) -> None:
    study.image("bare", None)
    first = study.validate()
    names = ("facts", "accepted", "quarantine")
    before = {name: getattr(study.paths, name).read_bytes() for name in names}
    study.rows.reverse()
    assert json.dumps(study.validate(workers=2)) == json.dumps(first)
    assert {name: getattr(study.paths, name).read_bytes() for name in names} == before


def test_split_and_pack_hold_every_image_where_it_belongs(study: Study) -> None:
    for n in range(3):
        study.image(f"bare{n}", None)
    study.validate()
    counts = study.split()
    metrics = study.pack()
    table = pd.read_csv(study.paths.split, index_col="image_id", dtype="str")
    paths = read_records(study.paths.accepted).set_index("image_id")["path"]
    for name in ("train", "unlabelled", "val", "test"):
        pixels = read_pixels(study.paths.pixels / name)
        assert pixels.index["image_id"].tolist() == sorted(table.index[table["split"] == name])
        for row, image_id in enumerate(pixels.index["image_id"]):
            expected = square(decode((study.root / paths[image_id]).read_bytes())[1], 16, "crop")
            np.testing.assert_array_equal(pixels.take(np.array([row]))[0], expected)
        assert metrics[name]["images"] == counts["images"][name] == len(pixels)
    assert len(read_pixels(study.paths.pixels / "unlabelled")) == 3


def test_split_stops_for_a_patient_who_crosses(study: Study) -> None:
    for row in study.rows:
        row["patient_id"] = f"p{int(str(row['image_id'])[-1]) % 5}"
    study.validate()
    with pytest.raises(LeakError, match=r"patient p0 is in .*split\.group_by lacks patient_id \(params\.yaml\)"):
        study.split(SPLIT.model_copy(update={"group_by": ("lesion_id",)}))
    assert not study.paths.split.exists()
    assert study.split()["groups"]


def test_pack_refuses_a_split_of_other_images(study: Study) -> None:
    study.validate()
    study.split()
    lines = study.paths.split.read_text().splitlines(keepends=True)
    study.paths.split.write_text("".join(lines[:-1]))
    with pytest.raises(DataError, match="name different images; run `dvc repro -f split`"):
        study.pack()
    study.paths.split.unlink()
    with pytest.raises(DataError, match="split: no such table; run `dvc repro split`"):
        study.pack()


def test_pack_names_an_image_that_broke_since(study: Study) -> None:
    study.validate()
    study.split()
    (study.root / "nv3.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"image nv3: cannot be read \(0 bytes\)"):
        study.pack()


@pytest.mark.real
def test_ham10000_is_accepted_with_its_two_pairs_of_equal_files(ham10000: Path, tmp_path: Path) -> None:
    dataset, paths = Ham10000(path=ham10000), place(tmp_path)
    words = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
    labels = Labels(scheme="seven", schemes={"seven": {word: (word,) for word in words}})
    write_records(apply_labels(dataset.read(), labels.mapping), paths.records)
    metrics = validate.work(
        dataset=dataset, labels=labels, split=SPLIT, validate=limits(max_quarantined_share=0),
        scan=Scan(workers=1, cluster=None), paths=paths,
        log=SilentLog(),
    )  # fmt: skip
    assert (metrics["accepted"], metrics["orphans"], metrics["exact_duplicate_groups"]) == (10015, 0, 2)
    accepted = read_records(paths.accepted)
    repeated = accepted[accepted["sha256"].duplicated(keep=False)].groupby("sha256")["image_id"].agg(tuple)
    assert sorted(repeated) == [("ISIC_0024366", "ISIC_0029861"), ("ISIC_0024777", "ISIC_0029938")]


def test_an_external_sets_own_words_are_read_as_it_is_told_and_others_count_as_unusable(
    study: Study, tmp_path: Path
) -> None:
    study.validate()
    study.split()
    theirs = tmp_path / "theirs"
    for place, word in enumerate(("NEV", "SCC", "mel", "mel", "mel")):
        (theirs / word).mkdir(parents=True, exist_ok=True)
        draw_picture(200 + place).save(theirs / word / f"{place}.png")
    message = r"2 of 5 rows cannot be used.*\nby rule: diagnosis.outside_map 2\nfirst: NEV/0.png .* = NEV"
    with pytest.raises(DataError, match=message):
        admit_as(study, "clinic", theirs, 0.0)
    with pytest.raises(DataError, match=r"1 of 5 rows cannot be used"):
        admit_as(study, "clinic", theirs, 0.0, NEV="naevus")
    assert admit_as(study, "clinic", theirs, 0.0, NEV="naevus", SCC=None)["accepted"] == 4
    accepted = read_records(study.paths.external / "clinic.parquet")
    assert dict(zip(accepted["diagnosis"], accepted["label"], strict=True)) == {"NEV": "nv", "mel": "mel"}
    reasons = pd.read_csv(study.paths.external / "clinic.quarantine.csv")
    assert reasons[["image_id", "rule", "value"]].values.tolist() == [["SCC/1.png", "diagnosis.outside_map", "SCC"]]
    assert "external.diagnoses (params.yaml)" in reasons["mend"].iloc[0]
