"""Free text as a key of another tool, such as a class name in the name of an MLflow metric.

Tools refuse some characters in their keys. Two different texts must never become one key, so no character is left out:
what is refused is written as `_xHHHH_`, its Unicode code point in hexadecimal digits, as ISO/IEC 9075-14 (SQL/XML) and
Excel write names. `a+b` is `a_x002B_b`. A text that MLflow accepts stays as it is, unless it contains `_xHHHH` itself.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

LONGEST = 250  # characters of a key in MLflow
DIGEST = 32  # hexadecimal digits of the sha256 at the end of a key that would be longer
NO_CHARACTER = "_x110000_"  # an empty name; the last code point of Unicode is 10FFFF

_REFUSED = re.compile(r"[^\w\-. :/]")  # by MLflow, in keys of metrics, params and tags
_LIKE_AN_ESCAPE = re.compile(r"_(?=x[0-9A-F]{4})")


class Key(str):
    """A text in the form that MLflow accepts as a key."""

    __slots__ = ()


def as_key(text: str) -> Key:
    """A text as a key of at most `LONGEST` characters; different texts give different keys.

    Slashes stay, since they group metrics: `val/loss`. A `Key` is returned as it is.
    """
    return text if isinstance(text, Key) else _finish([_escape(part) for part in text.split("/")], "/")


def flat_keys(values: Mapping[str, Any], joint: str) -> dict[str, Any]:
    """Nested mappings as a flat one, with their names joined to keys: {'a': {'b': 1}} is {'a/b': 1}.

    Names at the top are the code's own, such as `val/loss`, and may hold the joint. Names below it may be free text:
    joint and slash are escaped there, so that {'a': {'b/c': 1}} and {'a': {'b': {'c': 1}}} have different keys.

    Args:
        values: mappings inside mappings; an empty mapping has no key.
        joint: between the names, one character: `/` for metrics, `.` for settings.

    Returns:
        Values by `Key`.
    """
    return {_finish(path, joint): leaf for path, leaf in _leaves(values, joint)}


def _leaves(values: Mapping[str, Any], joint: str) -> Iterator[tuple[list[str], Any]]:
    for name, value in values.items():
        top = "/".join(_escape(part) for part in str(name).split("/"))
        yield from _below([top], value, joint)


def _below(path: list[str], value: Any, joint: str) -> Iterator[tuple[list[str], Any]]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _below([*path, _escape(str(name), more=f"/{joint}")], inner, joint)
    else:
        yield path, value


def _escape(text: str, more: str = "") -> str:
    """One part of a key, without characters that are refused or in `more`.

    MLflow normalises a key like a path and refuses it where that changes it, as with an empty part or `.` or `..`.
    """
    written = _LIKE_AN_ESCAPE.sub("_x005F_", text)
    written = _REFUSED.sub(lambda found: _code(found[0]), written)
    for character in more:
        written = written.replace(character, _code(character))
    if written in (".", ".."):
        written = _code(".") + written[1:]
    return written or NO_CHARACTER


def _code(character: str) -> str:
    return f"_x{ord(character):04X}_"


def _finish(parts: list[str], joint: str) -> Key:
    """The whole key: MLflow refuses one that begins with `..`, and one that is too long."""
    whole = joint.join(parts)
    if whole.startswith(".."):
        whole = _code(".") + whole[1:]
    if len(whole) > LONGEST:
        digest = hashlib.sha256(whole.encode()).hexdigest()[:DIGEST].upper()
        whole = f"{whole[: LONGEST - DIGEST - 3]}_x{digest}_"
    return Key(whole)
