"""One language for all data sets: their words for sex, age, body site and skin type become the common ones.

What a publisher left open stays open, and a word that nobody taught us stays as it is, in small letters: it is
then seen in the table, or breaks the contract of components/data/records.py, instead of becoming `unknown` in silence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pandas as pd

UNKNOWN = "unknown"
OPEN = frozenset({"", "-", "?", "n/a", "na", "nan", "none", "not specified", "null", "unk", "unknown", "unspecified"})
OPEN_DIAGNOSES = frozenset({"", "nan", "unk", "unknown"})  # "none" and "na" may be somebody's words for a finding
SEX_WORDS = {"m": "male", "male": "male", "man": "male", "f": "female", "female": "female", "woman": "female"}
ROMAN = {"i": "1", "ii": "2", "iii": "3", "iv": "4", "v": "5", "vi": "6"}

# The ISIC Archive's general sites, to which the finer words of other publishers are mapped. A hand is no palm:
# palms/soles is for those who say so.
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
SITES = (*SITE_WORDS, UNKNOWN)
_SITE = {word: site for site, words in SITE_WORDS.items() for word in (site, *words)}


def translate(table: pd.DataFrame, sex_words: Mapping[str, str] | None = None) -> pd.DataFrame:
    """A copy in the common words; columns that are not there stay away. `sex_words`: a data set's own, on top."""
    own = {_plain(word): meaning for word, meaning in (sex_words or {}).items()}
    words: dict[str, Callable[[str], str | None]] = {
        "diagnosis": diagnosis,
        "sex": lambda word: own.get(_plain(word)) or sex(word),
        "site": site,
        "age": age,
        "skin_type": skin_type,
    }
    translated = {name: _each(table[name], word) for name, word in words.items() if name in table}
    return table.assign(**translated)


def _each(column: pd.Series, word: Callable[[str], str | None]) -> pd.Series:
    """Every distinct cell is translated once; an empty one counts as the empty word."""
    filled = column.astype("object").where(column.notna(), "").map(str)
    return filled.map({cell: word(cell) for cell in filled.unique()}).astype("object")


def _plain(word: str) -> str:
    return " ".join(word.replace("_", " ").lower().split())


def diagnosis(word: str) -> str | None:
    """The word itself; nothing for an open one, so that such images count as unlabelled."""
    return None if _plain(word) in OPEN_DIAGNOSES else word.strip()


def sex(word: str) -> str:
    """male, female or unknown; any other word stays and breaks the contract."""
    plain = _plain(word)
    return UNKNOWN if plain in OPEN else SEX_WORDS.get(plain, plain)


def site(word: str) -> str:
    """One of SITES, or the word in small letters."""
    plain = _plain(word)
    return UNKNOWN if plain in OPEN else _SITE.get(plain, plain)


def is_site(word: str) -> bool:
    """Whether a word is one that SITES explains."""
    return _plain(word) in _SITE


def age(word: str) -> str | None:
    """Years as text; `85+`, the ISIC Archive's cap, is 85."""
    plain = _plain(word)
    return None if plain in OPEN else plain.removesuffix("+")


def skin_type(word: str) -> str | None:
    """Fitzpatrick's type as a number's text: VI is 6; -1, as Fitzpatrick17k writes it, and 0 are nothing."""
    plain = _plain(word)
    return None if plain in OPEN or plain in ("-1", "-1.0", "0", "0.0") else ROMAN.get(plain, plain)
