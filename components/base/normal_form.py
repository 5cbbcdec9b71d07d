"""The one form in which words are compared: ids, class names, file names, cells of every table.

Tables of one data set write the same thing in several ways: with an outer blank, with an invisible character, with
letters composed or decomposed (Unicode, UAX 15), or `7.0` where another table has `7`. What is compared for equality
goes through this module first.
"""

from __future__ import annotations

import re
import unicodedata

# Characters without width: zero-width spaces and joiners, directional marks, soft hyphen, word joiner, byte order mark.
_INVISIBLE = re.compile("[\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff]")
_OUTER_CONTROL = "".join(chr(code) for code in (*range(32), *range(127, 160)))
_WHOLE_AS_DECIMAL = re.compile(r"([0-9]+)\.0+")
_BLANKS = re.compile(r"\s+")
_LEADING_ZEROS = re.compile(r"(?<![0-9])0+(?=[0-9])")


def clean(text: str) -> str:
    """The text in Unicode form C, without invisible characters and without outer blanks of any kind."""
    if text.isascii():
        return text.strip().strip(_OUTER_CONTROL + " ")
    return unicodedata.normalize("NFC", _INVISIBLE.sub("", text)).strip().strip(_OUTER_CONTROL + " ")


def clean_id(text: str) -> str:
    """As `clean`; `7.0`, as software writes a whole number after a gap in its column, is `7`."""
    tidy = clean(text)
    whole = _WHOLE_AS_DECIMAL.fullmatch(tidy)
    return whole.group(1) if whole else tidy


def fold(text: str) -> str:
    """What two ids have in common that differ only in case, blanks, width of letters or leading zeros.

    For warnings and for the search for a similar name, never to join rows: `a1` and `A1` may be two patients.
    """
    folded = unicodedata.normalize("NFKC", clean_id(text)).casefold()
    return _BLANKS.sub("", _LEADING_ZEROS.sub("", folded))
