"""`dermflow data where`: which rows of which data set a pseudonym, an id or a path stands for.

The data sets are read again through their adapters, with the key file, and their ids are hashed as in the stages. The
answer is for the terminal of a person who may see the data: nothing of it goes to MLflow, Prefect or a file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from components.base.errors import DataError, DermflowError
from components.base.normal_form import clean_id, clean_path, fold
from components.data.adapters import Adapter
from components.data.ids import ALL_IDS, PERSON_IDS
from components.data.image_names import path_forms
from components.data.privacy import fingerprint, pseudonymise
from components.data.read_report import ReadReport
from components.data.records import apply_labels
from flows.settings import Settings, load_settings
from flows.settings.study import Paths
from flows.stage_io.pseudonym_key import read_key
from flows.stage_io.split_table import read_split

KINDS = {"image_id": "image", "lesion_id": "lesion", "patient_id": "patient"}
BEGINNING = re.compile(r"(?:image|lesion|patient)-[0-9a-f]{4,15}")
"""The first digits of a pseudonym, as a narrow column shows it."""

SIMILAR = 5
"""Similar names that a message lists at most."""


@dataclass(frozen=True)
class SearchedSet:
    """A data set that was read for the search."""

    title: str
    root: Path
    own: pd.DataFrame
    """Columns of Raw with the data set's own ids, in the order of its table."""
    hidden: pd.DataFrame
    """The same with pseudonyms, as the stages see them."""
    table: str
    """The tables that it was read from, for the number of a row; empty without a table."""
    quarantine: Path
    accepted: Path
    split: Path | None
    """None for an external test set, which is not split."""

    def find(self, name: str) -> dict[str, list[int]]:
        """What a name is, such as `patient` or `path`, with its rows; a second kind with the same rows is left out."""
        form, start = clean_id(name), BEGINNING.fullmatch(clean_id(name).rstrip(".… "))
        found: dict[str, list[int]] = {}
        for column, kind in KINDS.items():
            hit = (self.own[column] == form) | (self.hidden[column] == form)
            if start:
                hit |= self.hidden[column].str.startswith(start[0], na=False)
            found[kind] = self._places(hit)
        found["path"] = self._places(self.own["path"].map(clean_path).isin(path_forms(name, self.root)))
        kinds = [kind for kind, rows in found.items() if rows]
        return {kind: found[kind] for at, kind in enumerate(kinds) if found[kind] not in [found[k] for k in kinds[:at]]}

    @staticmethod
    def _places(hit: pd.Series) -> list[int]:
        return [int(place) for place in hit[hit.fillna(False)].index]

    def similar(self, name: str) -> list[str]:
        """Own ids and paths that differ from a name only in case, blanks, leading zeros, or in the folder."""
        wanted = fold(Path(clean_path(name)).name)
        names = pd.concat([self.own[column].dropna() for column in (*KINDS, "path")]).drop_duplicates()
        folded = names.map(lambda each: fold(Path(clean_path(each)).name))
        return [str(each) for each in names[folded == wanted]]


def where(names: Sequence[str]) -> list[str]:
    """The answer in lines.

    Args:
        names: pseudonyms or own ids of images, lesions or patients, or paths of images.

    Raises:
        DataError: names what was not found, and what was searched.
        SettingsError: where the key file is missing.
    """
    settings = load_settings()
    key = read_key(settings.privacy)
    searched, unread = _read_sets(settings, key)
    lines: list[str] = []
    unknown = []
    for name in dict.fromkeys(names):
        found = [line for each in searched for line in _answer(name, each)]
        lines += found
        if not found:
            unknown.append(name)
    if unknown:
        raise DataError("\n".join([*lines, *_not_found(unknown, searched, settings, key), *unread]))
    return [*lines, *unread]


def _read_sets(settings: Settings, key: bytes) -> tuple[list[SearchedSet], list[str]]:
    """The study's data set and the external ones, and a line for each that cannot be read."""
    paths, columns = settings.paths, ALL_IDS if settings.privacy.key == "secret" else PERSON_IDS
    places: list[tuple[str, Adapter, Mapping[str, str], tuple[Path, Path, Path | None]]] = [
        ("the study's data set", settings.dataset, settings.labels.mapping,
         (paths.quarantine, paths.accepted, paths.split)),
        *((f"the external test set {cohort.name}", cohort.dataset, cohort.mapping(settings.labels),
           _external_files(paths, cohort.name)) for cohort in settings.external),
    ]  # fmt: skip
    searched, unread = [], []
    for title, dataset, mapping, files in places:
        report = ReadReport()
        try:
            if not dataset.path.is_dir():
                raise DataError(f"{dataset.path}: no such folder")
            own = apply_labels(dataset.read(report), mapping).reset_index(drop=True)
        except DermflowError as error:
            unread.append(f"not searched: {title}, which cannot be read: {error.complete}")
            continue
        hidden = pseudonymise(own, columns, key)
        tables = ", ".join(table.file for table in report.tables)
        searched.append(SearchedSet(title, dataset.path, own, hidden, tables, *files))
    return searched, unread


def _external_files(paths: Paths, cohort: str) -> tuple[Path, Path, None]:
    return paths.external / f"{cohort}.quarantine.csv", paths.external / f"{cohort}.parquet", None


def _answer(name: str, searched: SearchedSet) -> Iterator[str]:
    for kind, rows in searched.find(name).items():
        count = f"{len(rows)} image{'s' * (len(rows) != 1)}"
        yield f"{name}: {kind} of {searched.title} ({searched.root}), {count}"
        for row in rows:
            yield from _describe(searched, row)


def _describe(searched: SearchedSet, row: int) -> Iterator[str]:
    """One image: its ids and path, its row in the table, and what the stages made of it."""
    own, hidden = searched.own.loc[row], searched.hidden.loc[row]
    yield f"  image {_names(own['image_id'], hidden['image_id'])}"
    yield f"    path        {searched.root / own['path']}"
    of = f" of {searched.table}" if searched.table else ", in the order of the paths"
    yield f"    row         {row + 1} of {len(searched.own)}{of}"
    if own["lesion_id"] == own["image_id"]:
        yield f"    lesion      none stated; the image counts as {hidden['lesion_id']}"
    else:
        yield f"    lesion      {_names(own['lesion_id'], hidden['lesion_id'])}"
    patient = own["patient_id"]
    yield f"    patient     {'not stated' if pd.isna(patient) else _names(patient, hidden['patient_id'])}"
    label = f"label {own['label']}" if pd.notna(own["label"]) else "no label"
    yield f"    diagnosis   {'none' if pd.isna(own['diagnosis']) else repr(own['diagnosis'])}, {label}"
    words = {name: own[name] for name in ("age", "sex", "site", "skin_type") if pd.notna(own[name])}
    yield f"    stated      {', '.join(f'{name} {value}' for name, value in words.items())}"
    yield f"    used as     {_use(searched, str(hidden['image_id']))}"
    for reason in _reasons(searched, str(hidden["image_id"])):
        yield f"    quarantine  {reason}"


def _names(own: object, hidden: object) -> str:
    return repr(own) if own == hidden else f"{own!r}, everywhere else {hidden}"


def _use(searched: SearchedSet, image_id: str) -> str:
    """The split, or whether the external test set has it."""
    if searched.split is None:
        if not searched.accepted.is_file():
            return f"not known: {searched.accepted} does not exist yet (dvc repro admit)"
        admitted = pd.read_parquet(searched.accepted, columns=["image_id"])["image_id"]
        return "external test image" if image_id in set(admitted) else "nothing: it was not admitted"
    if not searched.split.is_file():
        return f"not known: {searched.split} does not exist yet (dvc repro split)"
    table = read_split(searched.split)
    found = table.loc[table["image_id"] == image_id, "split"].tolist()
    return f"{found[0]} image" if found else "nothing: it is in no split"


def _reasons(searched: SearchedSet, image_id: str) -> list[str]:
    if not searched.quarantine.is_file():
        return [f"not known: {searched.quarantine} does not exist yet (dvc repro validate admit)"]
    table = pd.read_csv(searched.quarantine, dtype="str", keep_default_na=False)
    rows = table[table["image_id"] == image_id]
    return [f"{row.rule}: {row.value}; expected {row.expected}; to fix: {row.fix}" for row in rows.itertuples()] or [
        "no reason against it"
    ]


def _not_found(
    unknown: Sequence[str], searched: Sequence[SearchedSet], settings: Settings, key: bytes
) -> Iterator[str]:
    sets = "; ".join(f"{each.title} ({each.root}, {len(each.own)} images)" for each in searched) or "no data set"
    for name in unknown:
        yield (
            f"{name}: no image, lesion or patient has this pseudonym or id, and no image this path; searched: {sets}"
        )
        near = [repr(each) for one in searched for each in one.similar(name)][:SIMILAR]
        if near:
            yield f"  similar: {', '.join(near)}"
    ingested = settings.paths.metrics / "ingest.json"
    made_with = json.loads(ingested.read_text()).get("key") if ingested.is_file() else None
    if made_with not in (None, fingerprint(key)):
        yield (
            f"the pseudonyms of the last run were made with another key ({made_with}; this one is "
            f"{fingerprint(key)}): get the key file of that run, or run ingest again"
        )
