"""Which column of an unknown table holds what: a guess by the words of headers, to be shown and checked."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from components.base.normal_form import letters_of

IMAGE = "image"
"""The image's id, name or path: whether it is an id or a path is seen from the cells."""

WORDS: Mapping[str, tuple[str, ...]] = {
    IMAGE: (
        "image_id", "image_name", "image", "img_id", "img", "image_path", "img_path", "path", "filepath", "file_path",
        "file_name", "filename", "file", "imagefile", "image_file", "picture", "photo", "isic_id", "bild", "bild_id",
        "bildname", "bilddatei", "datei", "dateiname", "dateipfad", "foto", "fichier", "imagen", "archivo",
        "immagine", "id",
    ),
    "diagnosis": (
        "diagnosis", "dx", "diagnostic", "label", "class", "category", "disease", "condition", "target", "pathology",
        "histology", "lesion_type", "diagnose", "diagnosen", "befund", "klasse", "histologie", "diagnostico",
        "diagnóstico", "diagnosi", "diag", "cls",
    ),
    "lesion_id": (
        "lesion_id", "lesion", "lesionid", "lesion_number", "case", "case_id", "case_num", "läsion", "laesion",
        "läsions_id", "fall", "fall_id", "fallnummer", "lésion", "lesione",
    ),
    "patient_id": (
        "patient_id", "patient", "patientid", "patient_number", "subject", "subject_id", "person", "person_id", "pid",
        "mrn", "patienten_id", "patientennummer", "patnr", "pat_id", "pat_nr", "pat", "paciente", "paziente",
    ),
    "age": ("age", "age_approx", "age_years", "patient_age", "alter", "âge", "edad", "età", "idade"),
    "sex": ("sex", "gender", "patient_sex", "geschlecht", "sexe", "sexo", "sesso"),
    "site": (
        "site", "localization", "localisation", "location", "anatom_site_general", "anatom_site", "anatomical_site",
        "body_site", "body_part", "region", "lokalisation", "ort", "körperregion", "körperstelle", "sitio",
    ),
    "skin_type": (
        "skin_type", "skintype", "fitzpatrick", "fitzpatrick_scale", "fitzpatrick_skin_type", "fitspatrick", "hauttyp",
        "phototype", "skin_tone",
    ),
}  # fmt: skip
"""Column of the common table -> words of headers, the clearest first."""


def guess_columns(header: Sequence[str]) -> dict[str, str]:
    """Column of WORDS -> the column of a table that has it by its name; those without are left out.

    A name that is one of the words is preferred to one that only contains it, such as `Patient (Nr.)`.
    """
    found: dict[str, str] = {}
    for exact in (True, False):
        for ours, words in WORDS.items():
            if ours in found:
                continue
            free = [name for name in header if name not in found.values()]
            name = _first(free, words, exact=exact)
            if name is not None:
                found[ours] = name
    return found


def candidates(header: Iterable[str], ours: str) -> list[str]:
    """All columns whose name is one of the words or contains it, the clearest first."""
    names, words = list(header), WORDS[ours]
    exact = [name for word in words for name in names if letters_of(name) == letters_of(word)]
    return list(dict.fromkeys([*exact, *(name for name in names if _contains(name, words))]))


def _first(names: Sequence[str], words: Sequence[str], *, exact: bool) -> str | None:
    if not exact:
        return next((name for name in names if _contains(name, words)), None)
    return next((name for word in words for name in names if letters_of(name) == letters_of(word)), None)


def _contains(name: str, words: Sequence[str]) -> bool:
    """Whether a part of the name, as of `PatientNr` or `Alter (Jahre)`, is one of the words."""
    parts = {letters_of(part) for part in re.split(r"[\W_]+|(?<=[a-zß-ÿ])(?=[A-Z])", name) if part}
    return bool(parts & {letters_of(word) for word in words if len(word) > 2})
