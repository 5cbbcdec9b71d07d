"""`dermflow init`: what it proposes for odd tables, folders and published data sets, and what it cannot know."""

from __future__ import annotations

import csv
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from components.base.errors import DataError, DermflowError, SettingsError
from components.data.first_look import look_at
from components.data.ids import PERSON_IDS
from components.data.splits import split_table
from flows import presets
from flows.commands.init import Ask, Echo, describe, look_and_ask, with_answers, write_and_use
from flows.first_look.dataset import SeenDataset, read, recognise
from flows.first_look.preset import write_preset
from flows.first_look.proposal import Proposal, name_of, propose
from flows.settings import load_settings, parse_settings
from tests.unit.data.example_data import paint, write

CLINIC = {
    "image_id": "Bild", "diagnosis": "Befund", "lesion_id": "Fall", "patient_id": "Patient", "age": "Alter",
    "sex": "Geschlecht", "site": "Ort",
}  # fmt: skip
SMALL = {"image_id": "file", "diagnosis": "dx", "patient_id": "patient"}
# Case -> adapter, columns, column that names the images, encoding, separator, rows, patients, lesions
CASES = {
    "absolute-paths": ("table", {**CLINIC, "path": "Bild"}, "Bild", "utf-8", ",", 10, 20),
    "excel-semicolon-cp1252": ("table", CLINIC, "Bild", "cp1252", ";", 10, 20),
    "excel-semicolon-utf8": ("table", CLINIC, "Bild", "utf-8-sig", ";", 10, 20),
    "float-ids": ("table", CLINIC, "Bild", "utf-8", ",", 10, 20),
    "nfc-table": ("table", CLINIC, "Bild", "utf-8", ",", 10, 20),
    "ids-trailing-blank": ("table", SMALL, "file", "utf-8", ",", None, 0),
    "patient-na": ("table", SMALL, "file", "utf-8", ",", None, 0),
    "rows-end-with-comma": ("table", SMALL, "file", "utf-8", ",", None, 0),
    "ham-lesion-trailing-blank": ("ham10000", None, "image_id", "utf-8", ",", 0, None),
    "ham-utf16": ("ham10000", None, "image_id", "utf-16", ",", 0, None),
    "isic-column-twice": ("isic", None, "image", "utf-8", ",", 0, 0),
    "isic-index-column": ("isic", None, "image", "utf-8", ",", 0, None),
    "isic-metadata-semicolon": ("isic", None, "image", "utf-8", ",", 0, None),
    "isic-metadata-with-suffix": ("isic", None, "image", "utf-8", ",", 0, None),
}
NAMES = {"absolute-paths": lambda cell: Path(cell).stem, "float-ids": lambda cell: str(int(float(cell)))}


@pytest.fixture
def checkout(repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the presets of this checkout, in which a test may write."""
    folder = tmp_path / "checkout"
    shutil.copytree(repo / "presets", folder / "presets")
    monkeypatch.chdir(folder)
    return folder


def see(place: Path) -> SeenDataset:
    look = look_at(place)
    return read(look, *recognise(look))


def init(place: Path, *, ask: Ask, echo: Echo, name: str | None = None, again: bool = False) -> Path | None:
    """What the command does, without its lock and dvc.yaml."""
    answered = look_and_ask(place, name=name, kind=None, ask=ask, echo=echo)
    return None if answered is None else write_and_use(*answered, again=again, echo=echo)


def take(proposal: Proposal) -> Proposal:
    return proposal


def draw(folder: Path, case: str, column: str, encoding: str, separator: str) -> int:
    """The images that a case's table names; returns the rows of the table."""
    table = next(each for each in sorted(folder.glob("*.csv")) if "meta" not in each.stem.lower() or "HAM" in each.stem)
    with table.open(encoding=encoding, newline="") as stream:
        cells = [row[column].strip() for row in csv.DictReader(stream, delimiter=separator) if row[column]]
    paint(folder, *(f"pictures/{NAMES.get(case, str)(cell)}.jpg" for cell in dict.fromkeys(cells)))
    return len(cells)


@pytest.mark.parametrize("case", CASES)
def test_a_table_as_people_have_it_is_read_whole(cases: Path, tmp_path: Path, case: str) -> None:
    kind, columns, column, encoding, separator, patients, lesions = CASES[case]
    shutil.copytree(cases / case, tmp_path / "set")
    rows = draw(tmp_path / "set", case, column, encoding, separator)
    seen = see(tmp_path / "set")
    assert (seen.kind, len(seen.table), seen.found) == (kind, rows, rows)
    if columns is not None:
        wanted = {ours: name for ours, name in columns.items() if not (ours == "image_id" and "path" in columns)}
        assert seen.recognition.settings["columns"] == wanted
    assert patients is None or seen.ids("patient_id") == patients
    assert lesions is None or seen.ids("lesion_id") == lesions


def test_lost_zeros_are_named_and_nothing_is_written(cases: Path, tmp_path: Path) -> None:
    shutil.copytree(cases / "lost-zeros", tmp_path / "set")
    paint(tmp_path / "set", *(f"pictures/{number:03}.jpg" for number in range(40)))
    with pytest.raises(DataError, match=r"none of the 40 images is there.*\n.*000\.jpg \(zeros, blanks or case differ"):
        init(tmp_path / "set", ask=take, echo=lambda _: None)


def test_a_table_that_cannot_be_read_is_named_with_its_line(cases: Path) -> None:
    with pytest.raises(DataError, match=r"t\.csv cannot be read: a double quote that opens in line 21"):
        see(cases / "stray-quotes")


def test_three_published_tables_in_one_folder_are_not_guessed(tables: Path) -> None:
    with pytest.raises(DataError, match="3 adapters recognise this layout equally well") as caught:
        see(tables)
    assert all(name in str(caught.value) for name in ("fitzpatrick17k", "isic", "pad_ufes"))


@pytest.mark.parametrize(
    ("table", "kind", "rows"),
    [
        ("fitzpatrick17k.csv", "fitzpatrick17k", 16_577),
        ("PAD-UFES-20_metadata.csv", "pad_ufes", 2_298),
        ("ISIC_2020_Training_GroundTruth_v2.csv", "isic", 33_126),
    ],
)
def test_a_published_table_without_images_is_counted(tables: Path, table: str, kind: str, rows: int) -> None:
    seen = see(tables / table)
    assert (seen.kind, len(seen.table), seen.found) == (kind, rows, 0)
    assert len(seen.diagnoses) > 1


@pytest.fixture
def own_images(tmp_path: Path) -> Path:
    """24 images of three diagnoses, two of each patient."""
    names = [
        f"{word}/p{place}_{letter}.png" for place, word in enumerate(["nv", "Melanom", "Zyste"] * 4) for letter in "ab"
    ]
    return paint(tmp_path / "Haut Bilder", *names)


def test_folders_of_diagnoses_give_classes_and_patients(own_images: Path) -> None:
    seen = see(own_images)
    assert (seen.kind, seen.unit, seen.ids("patient_id"), seen.ids("lesion_id")) == ("folder", "patients", 12, 0)
    assert seen.diagnoses == {"Melanom": (8, 4), "Zyste": (8, 4), "nv": (8, 4)}
    with pytest.raises(DataError, match="0 diagnoses have at least 5 patients"):
        propose(seen)


def test_a_class_of_many_lesions_but_few_patients_is_left_out(tmp_path: Path) -> None:
    lesions = {"nv": 12, "mel": 6, "df": 6}  # each nv and mel of a patient of its own, df of two patients
    names = {f"{word}{place}": (word, place) for word, count in lesions.items() for place in range(count)}
    rows = [
        f"{name},{word},l_{name},{f'p_df{place % 2}' if word == 'df' else f'p_{name}'}"
        for name, (word, place) in names.items()
    ]
    root = paint(tmp_path / "set", *(f"{name}.png" for name in names))
    write(root, "t.csv", "\n".join(["image,dx,lesion_id,patient_id", *rows, ""]))
    seen = see(root)
    proposal = propose(seen, "mine")
    assert (seen.unit, seen.ids("lesion_id"), seen.diagnoses["df"]) == ("patients", 24, (6, 2))
    assert (proposal.classes, proposal.left_out) == (("mel", "nv"), {"df": 6})
    table = seen.table.assign(label=seen.table["diagnosis"], sha256=seen.table["image_id"])
    shares = {"train": 0.7, "val": 0.15, "test": 0.15}
    with pytest.raises(DataError, match="class df has 2 groups"):
        split_table(table, ["df", "mel", "nv"], PERSON_IDS, shares, 0)
    split = split_table(table.replace({"label": {"df": None}}), proposal.classes, PERSON_IDS, shares, 0)
    assert set(split["split"]) == {"train", "val", "test", "unlabelled"}


def test_a_class_of_unknown_malignancy_leaves_it_to_a_person(tmp_path: Path) -> None:
    names = [f"{word}/{place}.png" for word in ("nv", "mel", "Granulom 3") for place in range(6)]
    seen = see(paint(tmp_path / "images", *names, "df/1.png"))
    proposal = propose(seen, "mine")
    assert proposal.classes == ("Granulom 3", "mel", "nv")
    assert (proposal.malignant, proposal.unknown, proposal.left_out) == (None, ("Granulom 3",), {"df": 1})
    assert "malignant: null" in write_preset(seen, proposal, tmp_path)
    assert with_answers(proposal, "mine", "mel, Granulom 3").malignant == ("mel", "Granulom 3")
    with pytest.raises(DermflowError, match="wart: no class; expected some of Granulom 3, mel, nv"):
        with_answers(proposal, "mine", "wart")


@pytest.mark.parametrize("word", ["nv: 3", "[mel]", "#7", "'x", "yes", "0012", "Nävus, groß"])
def test_any_word_of_a_class_survives_the_preset(checkout: Path, word: str, tmp_path: Path) -> None:
    rows = "\n".join(f'{place},"{word}"\nb{place},other' for place in range(6))
    write(
        paint(tmp_path / "set", *(f"{name}{place}.png" for place in range(6) for name in ("", "b"))),
        "t.csv",
        f"image,dx\n{rows}\n",
    )
    seen = see(tmp_path / "set")
    proposal = propose(seen, "words")
    (checkout / "presets" / "words.yaml").write_text(write_preset(seen, proposal, tmp_path / "set"), "utf-8")
    presets.use("words", [])
    assert load_settings().labels.classes == tuple(sorted([word, "other"]))


def test_init_writes_a_preset_that_reads_all_rows(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"{word}/p{place}_{letter}.png" for word in ("nv", "mel") for place in range(6) for letter in "ab"]
    root = paint(tmp_path / "clinic", *names)
    monkeypatch.setenv("DERMFLOW_KEY_FILE", str(tmp_path / "key"))
    lines: list[str] = []
    file = init(root, ask=take, echo=lines.append)
    assert file == Path("presets/clinic.yaml")
    settings = load_settings()
    assert (settings.study.name, settings.labels.classes, settings.clinical.malignant) == (
        "clinic",
        ("mel", "nv"),
        ("mel",),
    )
    assert (settings.privacy.key, settings.dataset.path, settings.synthesize.lesions) == ("secret", root, 0)
    assert (tmp_path / "key").stat().st_mode & 0o077 == 0
    assert any("patients   6, known of 24 of 24 images" in line for line in lines)
    with pytest.raises(DermflowError, match=r"presets/clinic.yaml exists: add --name"):
        init(root, ask=take, echo=lines.append)


@pytest.fixture
def clinic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two diagnoses of six images each."""
    monkeypatch.setenv("DERMFLOW_KEY_FILE", str(tmp_path / "key"))
    return paint(tmp_path / "clinic", *(f"{word}/{place}.png" for word in ("nv", "mel") for place in range(6)))


@pytest.mark.parametrize("name", ["../../outside", "Clinic", "a b", "", "a" * 65])
def test_a_name_that_no_study_can_have_is_refused_before_anything_is_written(
    checkout: Path, clinic: Path, name: str
) -> None:
    before = sorted(checkout.parent.rglob("*"))
    proposal = propose(see(clinic), "clinic")
    for refused in (
        lambda: init(clinic, name=name, ask=take, echo=lambda _: None),
        lambda: with_answers(proposal, name, ""),
        lambda: write_and_use(see(clinic), replace(proposal, name=name), again=True, echo=lambda _: None),
    ):
        with pytest.raises(SettingsError, match="no name of a preset; expected lower-case letters"):
            refused()
    assert sorted(checkout.parent.rglob("*")) == before


def test_a_preset_that_init_did_not_write_is_never_replaced(checkout: Path, clinic: Path) -> None:
    before = (checkout / "presets" / "demo.yaml").read_bytes()
    with pytest.raises(SettingsError, match=r"presets/demo.yaml was not written by `dermflow init`"):
        init(clinic, name="demo", again=True, ask=take, echo=lambda _: None)
    assert (checkout / "presets" / "demo.yaml").read_bytes() == before


def test_again_replaces_a_preset_of_init(checkout: Path, clinic: Path) -> None:
    init(clinic, ask=take, echo=lambda _: None)
    paint(clinic, *(f"bcc/{place}.png" for place in range(6)))
    init(clinic, again=True, ask=take, echo=lambda _: None)
    assert load_settings().labels.classes == ("bcc", "mel", "nv")


def test_where_the_key_cannot_be_made_preset_and_settings_are_as_before(
    checkout: Path, clinic: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    presets.use("demo", [])
    before = (checkout / "params.yaml").read_bytes()
    monkeypatch.setenv("DERMFLOW_KEY_FILE", str(clinic / "nv" / "0.png" / "key"))  # below a file
    with pytest.raises(OSError, match=r"0\.png"):
        init(clinic, ask=take, echo=lambda _: None)
    assert not (checkout / "presets" / "clinic.yaml").exists()
    assert (checkout / "params.yaml").read_bytes() == before


def test_a_long_folder_name_gives_a_name_that_a_study_can_have() -> None:
    assert name_of(Path("/" + "b" * 63 + " c")) == "b" * 63


def test_a_person_can_decline(checkout: Path, tmp_path: Path) -> None:
    root = paint(tmp_path / "clinic", *(f"{word}/{place}.png" for word in ("nv", "mel") for place in range(6)))
    before = (checkout / "params.yaml").exists()
    assert init(root, ask=lambda _: None, echo=lambda _: None) is None
    assert not (checkout / "presets" / "clinic.yaml").exists()
    assert (checkout / "params.yaml").exists() == before


def test_images_without_any_diagnosis_are_said_to_be_so(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"no adapter recognises this layout. There are 2 images.\nExpected a folder for each"
    ):
        see(paint(tmp_path / "loose", "a.png", "b.png"))


def test_ham10000_is_the_scheme_of_seven(checkout: Path, ham10000: Path) -> None:
    seen = see(ham10000)
    assert (seen.kind, seen.found, seen.ids("lesion_id"), seen.published) == ("ham10000", 10_015, 7_470, True)
    assert any("7: nv 6705, mel 1113" in line for line in describe(seen))
    (checkout / "presets" / "ham.yaml").write_text(write_preset(seen, propose(seen, "ham"), seen.look.root))
    settings = parse_settings(YAML(typ="safe").load(presets.render("ham", [])), "ham")
    assert (settings.privacy.key, settings.labels.scheme) == ("public", "seven")
    assert set(settings.clinical.malignant or ()) == {"akiec", "bcc", "mel"}
