"""Free text as a key of another tool, such as a class name in the name of an MLflow metric.

Tools refuse some characters in their keys. Two different texts must never become one key, so no character is left out:
what is refused is written as `_xHHHH_`, its Unicode code point in hexadecimal digits, as ISO/IEC 9075-14 (SQL/XML) and
Excel write names. `a+b` is `a_x002B_b`. A text that MLflow accepts stays as it is, unless it contains `_xHHHH` itself.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
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
    return text if isinstance(text, Key) else _join([text], "/")


def flat_keys(values: Mapping[str, Any], joint: str) -> dict[str, Any]:
    """Nested mappings as a flat one, with their names joined to keys: {'a': {'b': 1}} is {'a/b': 1}.

    A name may contain the joint. Only where two paths of names would then be one key, as in {'a': {'b/c': 1, 'b':
    {'c': 2}}}, the joint inside their names is escaped.

    Args:
        values: mappings inside mappings; an empty mapping has no key.
        joint: between the names, one character: `/` for metrics, `.` for settings.

    Returns:
        Values by `Key`, one for each path.
    """
    leaves = list(_leaves(values))
    keys = [_join(path, joint) for path, _ in leaves]
    used = Counter(keys)
    return {
        key if used[key] == 1 else _join(path, joint, within=joint): leaf
        for key, (path, leaf) in zip(keys, leaves, strict=True)
    }


def _leaves(value: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every value that is no mapping, with the names that lead to it."""
    for name, inner in value.items():
        here = (*path, str(name))
        if isinstance(inner, Mapping):
            yield from _leaves(inner, here)
        else:
            yield here, inner


def _join(names: Sequence[str], joint: str, within: str = "") -> Key:
    """The key of a path of names; characters of `within` are escaped inside names."""
    whole = joint.join(_escape(name, within) for name in names)
    if whole.startswith(".."):  # which MLflow refuses
        whole = _code(".") + whole[1:]
    if len(whole) > LONGEST:
        digest = hashlib.sha256(whole.encode()).hexdigest()[:DIGEST].upper()
        whole = f"{whole[: LONGEST - DIGEST - 3]}_x{digest}_"
    return Key(whole)


def _escape(name: str, within: str) -> str:
    written = _REFUSED.sub(lambda found: _code(found[0]), _LIKE_AN_ESCAPE.sub("_x005F_", name))
    for character in within:
        written = written.replace(character, _code(character))
    return "/".join(map(_escape_part, written.split("/")))


def _escape_part(part: str) -> str:
    """A part between slashes. To MLflow a key is a path, and it refuses one without a unique form, as `a//b`, `./a`."""
    if part in (".", ".."):
        return _code(".") + part[1:]
    return part or NO_CHARACTER


def _code(character: str) -> str:
    return f"_x{ord(character):04X}_"
