"""The one form in which words are compared: ids, class names, file names, cells of every table.

Tables of one data set write the same thing in several ways: with an outer blank, with an invisible character, with
letters composed or decomposed (Unicode, UAX 15), or `7.0` where another table has `7`. What is compared for equality
goes through this module first.
"""

from __future__ import annotations

import re
import unicodedata

# Characters without width: zero-width blanks and joiners, directional marks, soft hyphen, byte order mark, fillers,
# variation selectors, tags (Unicode, Default_Ignorable_Code_Point).
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U000e0000-\U000e0fff]"
)
_OUTER = "".join(chr(code) for code in (*range(33), *range(127, 161)))  # blanks and control characters
_WHOLE_AS_DECIMAL = re.compile(r"([0-9]+)(?:\.0+|,0)")
_BLANK, _BLANKS = re.compile(r"[^\S\x00-\x7f]"), re.compile(r"\s+")  # the first: blanks outside ASCII
_DASH = re.compile("[\u2010-\u2015\u2212\ufe58\uff0d]")
_WORD = re.compile(r"[^\W\d_]+")
_LEADING_ZEROS = re.compile(r"(?<![0-9])0+(?=[0-9])")


def clean(text: str) -> str:
    """The text in Unicode form C, without invisible characters and outer blanks; inner blanks are plain ones."""
    if not text.isascii():
        text = _BLANK.sub(" ", unicodedata.normalize("NFC", _INVISIBLE.sub("", text)))
    return text.strip(_OUTER)


def clean_id(text: str) -> str:
    """As `clean`; `7.0` or `7,0`, as software writes a whole number in a column with gaps, is `7`."""
    tidy = clean(text)
    whole = _WHOLE_AS_DECIMAL.fullmatch(tidy)
    return whole.group(1) if whole else tidy


def clean_path(text: str) -> str:
    """A path with slashes, each part as `clean`, without empty parts and `.`; to compare paths, not to open a file."""
    parts = (clean(part) for part in text.replace("\\", "/").split("/"))
    return "/".join(part for part in parts if part not in ("", "."))


def fold(text: str) -> str:
    """What two ids have in common that differ only in case, blanks, dashes, width of letters or leading zeros.

    For warnings and for the search for a similar name, never to join rows: `a1` and `A1` may be two patients.
    """
    tidy = clean_id(text)
    if tidy.isascii():
        return _BLANKS.sub("", _LEADING_ZEROS.sub("", tidy.lower()))
    folded = unicodedata.normalize("NFKC", _DASH.sub("-", tidy)).casefold()
    bare = _BLANKS.sub("", _LEADING_ZEROS.sub("", folded))
    return unicodedata.normalize("NFKC", bare)  # letters that a blank had kept apart may combine


def letters_of(text: str) -> str:
    """Letters and digits of `fold` alone: `Melanoma, NOS` is `melanomanos`. To compare words of a vocabulary."""
    return "".join(letter for letter in fold(text) if letter.isalnum())


def plain_words(text: str) -> list[str]:
    """The words of a text without case, accents, digits and marks: `Mélanome_in-situ, 2` is melanome, in, situ."""
    parts = unicodedata.normalize("NFKD", clean(text).casefold())
    without = "".join(letter for letter in parts if not unicodedata.combining(letter))
    return _WORD.findall(unicodedata.normalize("NFC", without))
