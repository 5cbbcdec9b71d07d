"""Tables of patients with a secret key: the real stages, the flow, its databases and pages say no word of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from components.synthetic.dataset import draw_dataset
from tests.pipeline.conftest import NAME, Checkout, runs_of

pytestmark = pytest.mark.slow

TABLE = "patients.csv"
SETTINGS = (
    "dataset={kind: table, path: data/raw/clinic, file: patients.csv, columns: {path: Bild, diagnosis: Befund, "
    "patient_id: Patient, age: Alter, sex: Geschlecht, site: Ort}}",
    "privacy.key=secret", "synthesize.lesions=0", "synthesize.unlabelled=0", "validate.max_missing_share=1",
    "validate.max_quarantined_share=0.2",
)  # fmt: skip
LEAVING = ("mlruns", "reports", "metrics", "data/docs")


@pytest.fixture(scope="module")
def clinic(new_checkout: Callable[[], Checkout]) -> Checkout:
    """A checkout with a table of patients' names, of which some stand in wrong columns."""
    checkout = new_checkout()
    folder = checkout.folder / "data" / "raw" / "clinic"
    draw_dataset(
        folder, lesions=60, unlabelled=0, image_size=48, images_per_lesion=1, confounding=0.5, difficulty=0.4, seed=3
    )
    drawn = pd.read_csv(folder / "metadata.csv", dtype="str", keep_default_na=False)
    (folder / "metadata.csv").unlink()
    table = pd.DataFrame(
        {
            "Bild": drawn["path"], "Befund": drawn["diagnosis"], "Alter": drawn["age"], "Geschlecht": drawn["sex"],
            "Patient": [f"{NAME}, {word}" for word in drawn["patient_id"]], "Ort": f"Praxis {NAME}",
        }
    )  # fmt: skip
    table.loc[0, "Befund"] = table.loc[1, "Geschlecht"] = f"Erika {NAME}"
    table.loc[2, "Bild"] = f"images/{NAME}.png"
    table.loc[3, "Alter"] = "230"
    table.to_csv(folder / TABLE, index=False)
    key = Path(checkout.environment["DERMFLOW_KEY_FILE"])
    if not key.exists():
        checkout.run("-m", "flows.commands.cli", "key")
    checkout.use(*SETTINGS)
    return checkout


def has_name(data: bytes) -> bool:
    return any(NAME.lower().encode(code) in data.lower() for code in ("utf-8", "utf-16-le"))


def leaks(checkout: Checkout, *names: str) -> list[str]:
    places = [checkout.folder / name for name in names]
    files = [path for place in places for path in [place, *place.rglob("*")] if path.is_file()]
    assert files
    return [str(path.relative_to(checkout.folder)) for path in files if has_name(path.read_bytes())]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Alter,", f"{NAME},"),
        ("230", NAME),
        (".png,", f".png,{NAME},"),
        (f'"{NAME}', f'{NAME}"'),
        ("Befund", "Patient"),
    ],
)
def test_a_stage_says_no_word_of_a_broken_table(clinic: Checkout, old: str, new: str) -> None:
    file = clinic.folder / "data" / "raw" / "clinic" / TABLE
    sound = file.read_text()
    kept = clinic.folder / ".dvc" / "tmp" / "dermflow" / "errors" / "ingest.txt"
    kept.unlink(missing_ok=True)
    try:
        file.write_text(sound.replace(old, new))
        failed = clinic.run("-m", "flows.ingest", check=False)
    finally:
        file.write_text(sound)
    said = failed.stdout + failed.stderr
    assert failed.returncode != 0 and "DataError" in said and TABLE in said
    assert not has_name(said.encode())
    assert "on this host only" not in said or has_name(kept.read_bytes()) is (NAME in new)
    assert not leaks(clinic, "mlruns")
    assert all("stays on the host" in run.data.tags["error"] for run in runs_of(clinic))


def test_rows_with_names_in_wrong_columns_are_quarantined_and_shown_without_them(clinic: Checkout) -> None:
    said = ""
    for stage in ("flows.ingest", "flows.validate"):
        done = clinic.run("-m", stage)
        said += done.stdout + done.stderr
    assert not has_name(said.encode())
    assert "see the quarantine file" in said
    assert not leaks(clinic, *LEAVING)
    quarantine = pd.read_csv(clinic.folder / "data" / "quarantine.csv", dtype="str", keep_default_na=False)
    assert quarantine["rule"].value_counts().to_dict() == {
        "diagnosis.outside_map": 1, "sex.words": 1, "image.missing": 1, "age.range": 1,
    }  # fmt: skip
    assert any(NAME in value for value in quarantine["value"])  # the owner at the machine finds it


def test_the_flow_and_its_database_have_no_word_of_a_broken_table(clinic: Checkout) -> None:
    file = clinic.folder / "data" / "raw" / "clinic" / TABLE
    sound = file.read_text()
    try:
        file.write_text(sound.replace("230", NAME))
        failed = clinic.flow(check=False)
    finally:
        file.write_text(sound)
    said = failed.stdout + failed.stderr
    assert failed.returncode == 1 and "rows whose age is not a number" in said
    assert not has_name(said.encode())
    assert not leaks(clinic, *LEAVING)
    prefect = Path(clinic.environment["PREFECT_HOME"])
    databases = [path for path in prefect.rglob("*.db*") if path.is_file()]
    assert databases
    assert not any(has_name(path.read_bytes()) for path in databases)
