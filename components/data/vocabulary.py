"""Common values for all data sets: their terms for sex, age, body site and skin type become those of records.py.

Terms for "not stated" become `unknown` or null. An unknown term does not become `unknown`: it stays in lower case, so
that it is visible in the table or breaks the contract of components/data/records.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import pandas as pd

from components.base.normal_form import clean, letters_of, plain_words

UNKNOWN = "unknown"
UNSTATED = frozenset(
    {
        "", "n/a", "n.a.", "n.a", "n/k", "na", "nan", "nil", "none", "null", "nat", "undefined", "undetermined",
        "not available", "unavailable", "not applicable", "not known", "not recorded", "not specified", "not stated",
        "not reported", "not provided", "not given", "not documented", "not collected", "not assigned", "unassigned",
        "missing", "unk", "unknown", "unspecified", "anonymous", "blank", "empty", "no data", "no id",
        "no value", "tbd",
        "k.a.", "k.a", "ka", "k. a.", "keine", "keine angabe", "keine angaben", "nicht angegeben", "nicht bekannt",
        "nicht vorhanden", "fehlt", "fehlend", "unbekannt", "ohne angabe", "leer",
        "inconnu", "inconnue", "non renseigne", "non renseigné", "non precise", "non précisé", "non disponible", "nc",
        "nr", "desconocido", "desconocida", "sin dato", "sin datos", "no disponible", "no consta", "ninguno",
        "desconhecido", "desconhecida", "nao informado", "não informado", "sem dados", "ignorado",
        "sconosciuto", "sconosciuta", "non noto", "non disponibile", "n.d.", "n.d", "nd", "onbekend", "niet bekend",
        "nvt", "n.v.t.", "okänd", "saknas", "ukjent", "ukendt", "tuntematon", "nieznany", "brak", "brak danych",
        "neznámý", "neznámé", "neuvedeno", "ismeretlen", "nincs adat", "necunoscut", "bilinmiyor", "άγνωστο",
        "неизвестно", "неизвестен", "нет", "нет данных", "невідомо", "غير معروف", "לא ידוע", "không rõ",
        "不明", "不詳", "不详", "未知", "未提供", "缺失", "無", "无", "なし", "없음", "미상",
        "\\n",
    }
)  # fmt: skip
"""Words for nothing in sex, site, age, skin type and in ids of persons, in lower case; marks alone count, too."""

_NOT_AN_ID = frozenset(
    {
        "anonym", "anonymised", "anonymized", "anonymisiert", "anon", "deidentified", "de-identified", "redacted",
        "removed", "withheld", "hidden", "n.n.", "n.n", "n. n.", "patient", "unknown patient", "patient unknown",
        "lesion", "unknown lesion", "id", "patient id", "lesion id", "no patient", "no patient id", "no lesion",
        "no lesion id", "without id", "ohne id", "keine id", "other", "others", "various", "false",
    }
)  # fmt: skip
"""Further words that are no id of one person or lesion."""

_MAY_BE_A_NAME = frozenset({"ka", "nc", "nr", "nd", "nat", "nil", "blank", "brak", "id", "other", "anon"})
"""Words for nothing that can be initials or a name: in a column whose other ids have no digits they are ids."""

_BRACKETS = "()[]{}<>\"'`\u00b4“”„«»#*?!;: "
_MISSING_CODE = re.compile(r"-1|-9+|x{2,}")
UNSTATED_DIAGNOSES = frozenset({"", "nan", "unk", "unknown"})  # "none" and "na" may be diagnoses of a data set
SEX_WORDS = {"m": "male", "male": "male", "man": "male", "f": "female", "female": "female", "woman": "female"}
_DECIMAL_COMMA = re.compile(r"([0-9]+),([0-9]+)")
ROMAN = {"i": "1", "ii": "2", "iii": "3", "iv": "4", "v": "5", "vi": "6"}

DIAGNOSIS_NAMES: Mapping[str, str] = {
    "akiec": "actinic keratosis or Bowen's disease",
    "ak": "actinic keratosis",
    "ack": "actinic keratosis",
    "bcc": "basal cell carcinoma",
    "bkl": "benign keratosis",
    "bod": "Bowen's disease",
    "df": "dermatofibroma",
    "mel": "melanoma",
    "nev": "naevus",
    "nv": "naevus",
    "scc": "squamous cell carcinoma",
    "sek": "seborrhoeic keratosis",
    "vasc": "vascular lesion",
}
"""Words for the short forms that published data sets use for diagnoses, in lower case."""

MELANOMA = (
    "mel", "melanoma", "malignant melanoma", "melanoma invasive", "invasive melanoma", "melanoma in situ",
    "melanoma nos", "melanoma metastasis", "lentigo maligna", "lentigo maligna melanoma", "nodular melanoma",
    "superficial spreading melanoma", "acral lentiginous melanoma", "amelanotic melanoma", "desmoplastic melanoma",
    "melanom", "malignes melanom", "mélanome", "mélanome malin", "melanoma maligno", "melanoma cutâneo",
    "maligní melanom", "czerniak", "maligne melanoom", "malignt melanom", "melanooma", "меланома", "μελάνωμα",
    "黑色素瘤", "恶性黑色素瘤", "惡性黑色素瘤", "黒色腫", "悪性黒色腫", "メラノーマ", "흑색종", "악성 흑색종",
)  # fmt: skip
"""Terms for melanoma, lentigo maligna (a melanoma in situ) among them, in any spelling of `letters_of`."""

_MELANOMA = frozenset(map(letters_of, MELANOMA))


def _one_of(words: str) -> str:
    return f"(?:{'|'.join(plain_words(words))})"


_NAMED = (
    _one_of("melanoma melanomas melanom melanome melanomen mélanome mélanomes melanoom melanooma czerniak меланома")
    + "|"
    + _one_of("μελάνωμα 黑色素瘤 恶性黑色素瘤 惡性黑色素瘤 黒色腫 悪性黒色腫 メラノーマ 흑색종")
)
_NOT = _one_of(
    "no non not without kein keine keinem nicht ohne pas sans aucun sin nao não senza nessun geen niet zonder ikke "
    "inte ingen ei nie bez не нет без"
)
_BETWEEN = _one_of("a any evidence sign signs of malignant malignes malignem invasive de di hinweis auf anhalt für")
_MELANOMA_NAMED = re.compile(rf"\b(?:{_NAMED})\b")
"""Melanoma inside a longer term: `melanoma (less than 0.76 mm)`."""
_MELANOMA_DENIED = re.compile(
    rf"\b{_NOT} (?:{_BETWEEN} )*(?:{_NAMED})\b|\b(?:{_NAMED}) {_one_of('excluded ausgeschlossen')}\b"
)
"""`non-melanoma skin cancer`, and not `non-ulcerated melanoma`."""

CONFIRMATION_WORDS: Mapping[str, tuple[str, ...]] = {
    "histology": ("histo", "histopathology", "histopatholgy", "biopsy", "true"),
    "confocal microscopy": ("confocal", "confocal microscopy with consensus dermoscopy"),
    "follow-up": ("follow_up", "follow up", "followup", "serial imaging showing no change"),
    "consensus": ("single image expert consensus", "expert consensus"),
    "clinical": ("single contributor clinical assessment", "false"),
}
"""How a diagnosis was confirmed, and the words of data sets for it; `true` and `false` are of a column `biopsed`."""

OTHER = "other"
"""A confirmation that no word of CONFIRMATION_WORDS names; a free text is not kept, since it may name a person."""

CONFIRMATIONS = (*CONFIRMATION_WORDS, OTHER, UNKNOWN)
_CONFIRMATION = {word: name for name, words in CONFIRMATION_WORDS.items() for word in (name, *words)}

SITE_WORDS: Mapping[str, tuple[str, ...]] = {
    "head/neck": ("head", "neck", "head neck", "head and neck", "face", "scalp", "ear", "nose", "lip"),
    "upper extremity": ("upper limbs", "arm", "forearm", "hand", "upper arm", "shoulder"),
    "lower extremity": ("lower limbs", "leg", "thigh", "foot"),
    "anterior torso": ("abdomen", "chest", "anterior trunk"),
    "posterior torso": ("back", "posterior trunk", "upper back", "mid back", "lower back"),
    "lateral torso": ("lateral trunk", "flank"),
    "torso": ("trunk",),
    "palms/soles": ("acral", "palm", "sole", "palms and soles", "palms or soles"),
    "oral/genital": ("genital", "genital areas", "oral and genital", "oral or genital"),
}
"""General site of the ISIC Archive -> the finer terms of other publishers. A hand is an upper extremity: only a term
that names the palm is palms/soles."""

SITES = (*SITE_WORDS, UNKNOWN)
_SITE = {word: site for site, words in SITE_WORDS.items() for word in (site, *words)}


def translate(table: pd.DataFrame, sex_words: Mapping[str, str] | None = None) -> pd.DataFrame:
    """The table with common values in the columns diagnosis, sex, site, age, skin_type and confirmation.

    Args:
        table: text in all columns; those of the six that it lacks are not added.
        sex_words: further terms of this data set, term -> male, female or unknown.

    Returns:
        A copy, in which

        - diagnosis is the term itself, null where it is not stated,
        - sex is male, female, unknown or an unknown term in lower case,
        - site is one of SITES or an unknown term in lower case,
        - age is years as text or null,
        - skin_type is the Fitzpatrick type 1 to 6 as text or null,
        - confirmation is one of CONFIRMATIONS.
    """
    own = {_normalise(word): meaning for word, meaning in (sex_words or {}).items()}
    words: dict[str, Callable[[str], str | None]] = {
        "diagnosis": diagnosis,
        "sex": lambda word: own.get(_normalise(word)) or sex(word),
        "site": site,
        "age": age,
        "skin_type": skin_type,
        "confirmation": confirmation,
    }
    translated = {name: _each(table[name], word) for name, word in words.items() if name in table}
    return table.assign(**translated)


def _each(column: pd.Series, word: Callable[[str], str | None]) -> pd.Series:
    """The column with `word` applied once to each distinct cell; a null counts as empty text."""
    filled = column.astype("object").where(column.notna(), "").map(str)
    return filled.map({cell: word(cell) for cell in filled.unique()}).astype("object")


def confirmation(word: str) -> str:
    """How a diagnosis was confirmed, one of CONFIRMATIONS."""
    return UNKNOWN if is_unstated(word) else _CONFIRMATION.get(_normalise(word), OTHER)


def is_unstated(word: str) -> bool:
    """Whether a cell says that something is not known: a word of UNSTATED, or marks alone, such as `-`, `--` or `?`."""
    term = _normalise(word)
    return _is_one_of(UNSTATED, term) or not any(letter.isalnum() for letter in term)


def is_no_id(word: str, *, coded: bool) -> bool:
    """Whether a cell of a column of ids is the id of no person and no lesion.

    Args:
        word: `is_unstated`, or `anonymised`, `xxx`, `-1` and the like.
        coded: whether the column's other ids have digits; otherwise `nc` or `Blank` may be initials or a name.
    """
    term = _normalise(word)
    if not coded and _is_one_of(_MAY_BE_A_NAME, term):
        return False
    return is_unstated(word) or _is_one_of(_NOT_AN_ID, term) or _MISSING_CODE.fullmatch(term) is not None


def _is_one_of(words: frozenset[str], term: str) -> bool:
    """Whether the term is one of the words, as it is or without brackets and quotes around it: `(unknown)`."""
    return term in words or term.strip(_BRACKETS) in words


def _normalise(word: str) -> str:
    return " ".join(clean(word).replace("_", " ").lower().split())


def diagnosis(word: str) -> str | None:
    """The term itself; None where no diagnosis is stated, so that the image counts as unlabelled."""
    return None if _normalise(word) in UNSTATED_DIAGNOSES else clean(word)


def sex(word: str) -> str:
    """male, female or unknown; any other term stays in lower case and breaks the contract of records.py."""
    term = _normalise(word)
    return UNKNOWN if is_unstated(word) else SEX_WORDS.get(term, term)


def site(word: str) -> str:
    """One of SITES, or the term in lower case."""
    term = _normalise(word)
    return UNKNOWN if is_unstated(word) else _SITE.get(term, term)


def is_site(word: str) -> bool:
    """Whether `site` maps this term to one of SITES other than unknown."""
    return _normalise(word) in _SITE


def decimal_point(number: str) -> str:
    """A number with a decimal comma, as spreadsheets in many countries write it, with a point; other words as they are.

    Ages, skin types and marks have no separator of thousands.
    """
    return _DECIMAL_COMMA.sub(r"\1.\2", number) if _DECIMAL_COMMA.fullmatch(number) else number


def age(word: str) -> str | None:
    """Years as text, None where not stated; `85+`, the upper limit in the ISIC Archive, is 85, and `45,5` is 45.5."""
    term = _normalise(word)
    return None if is_unstated(word) else decimal_point(term.removesuffix("+"))


def skin_type(word: str) -> str | None:
    """Fitzpatrick type as text of a number: VI is 6; None for 0 and for -1, which Fitzpatrick17k uses for unknown."""
    term = decimal_point(_normalise(word))
    return None if is_unstated(word) or term in ("-1", "-1.0", "0", "0.0") else ROMAN.get(term, term)


def shortened(words: pd.Series, most: int = 8, letters: int = 40) -> str:
    """Names of classes for a message, such as `3 words: 'mel', 'nv', 'übrige'`.

    A message may leave this host and a column of ids can be taken for diagnoses, so only a few words are shown, the
    most frequent first, and none where most of them stand in one row only, as ids do.

    Args:
        words: diagnoses, one a row.
        most: words that are shown.
        letters: letters that are shown of each.
    """
    counts = words.value_counts()
    if len(counts) > most and counts.median() <= 1:
        return f"{len(counts)} words, most of them in a single row: is the column of the diagnosis the right one?"
    shown = ", ".join(repr(str(word)[:letters]) for word in counts.index[:most])
    return f"{len(counts)} words: {shown}{', ...' if len(counts) > most else ''}"


def diagnosis_name(word: str) -> str:
    """`melanoma` for `mel`; a word without an entry in DIAGNOSIS_NAMES is its own name."""
    return DIAGNOSIS_NAMES.get(word.casefold(), word)


def is_melanoma(diagnosis: str) -> bool:
    """Whether a diagnosis of a data set is melanoma, in any spelling and in the languages of MELANOMA."""
    if letters_of(diagnosis) in _MELANOMA:
        return True
    words = " ".join(plain_words(diagnosis))
    return bool(_MELANOMA_NAMED.search(words)) and not _MELANOMA_DENIED.search(words)
