"""Diagnoses of an external test set that are in no class: what to paste into params.yaml, with guesses that say so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from io import StringIO

import pandas as pd
from ruamel.yaml import YAML

from components.base.normal_form import letters_of
from components.data.diagnosis_words import SAME

MIN_LESIONS = 5
"""Lesions that a class must have in both test sets; a class with fewer in one of them is left out of both."""

SHOWN = 100
"""Terms that a message lists at most."""


@dataclass(frozen=True)
class Proposal:
    """What to enter for one diagnosis."""

    word: str
    images: int
    target: str | None
    """A diagnosis of the scheme; None: no guess, so that pasting it leaves the images out."""
    reason: str


def propose(words: pd.Series, known: Mapping[str, str]) -> list[Proposal]:
    """A proposal for each diagnosis, the most frequent first.

    Args:
        words: the diagnosis of each image that is in no class.
        known: diagnosis of the scheme -> class.
    """
    counts = words.value_counts().sort_index().sort_values(ascending=False, kind="stable")
    return [_propose(str(word), int(count), known) for word, count in counts.items()]


def _propose(word: str, images: int, known: Mapping[str, str]) -> Proposal:
    form = letters_of(word)
    equal = [ours for ours in known if letters_of(ours) == form]
    if equal:
        return Proposal(word, images, equal[0], "a guess: the same word in another spelling")
    of_class = [ours for ours, name in known.items() if letters_of(name) == form]
    if of_class:
        return Proposal(word, images, of_class[0], f"a guess: it is the name of the class of {of_class[0]}")
    group = {letters_of(term) for terms in SAME for term in terms if form in {letters_of(each) for each in terms}}
    same = [ours for ours in known if letters_of(ours) in group]
    if len({known[ours] for ours in same}) == 1:
        return Proposal(word, images, same[0], f"a guess: publishers use it for {same[0]} or a part of it")
    return Proposal(word, images, None, "no guess; null leaves these images out")


def to_paste(proposals: list[Proposal], given: Mapping[str, str | None], known: Mapping[str, str]) -> str:
    """The line for an entry under `external`, and a line about each of its new diagnoses.

    Args:
        proposals: of `propose`.
        given: the present value of `diagnoses`, which the line contains, too.
        known: diagnosis of the scheme -> class.
    """
    shown = proposals[:SHOWN]
    line = {"diagnoses": {**given, **{each.word: each.target for each in shown}}}
    lines = [
        _flow(line),
        *(f"{each.word!r}: {each.images} images -> {each.target or 'null'} ({each.reason})" for each in shown),
        f"diagnoses of the scheme: {', '.join(known)}",
    ]
    rest = proposals[SHOWN:]
    if rest:
        lines.insert(-1, f"and {len(rest)} more diagnoses of {sum(each.images for each in rest)} images")
    single = sum(each.images == 1 for each in proposals)
    if len(proposals) > SHOWN or (len(proposals) > 20 and 2 * single > len(proposals)):
        lines.append("most of them stand in few rows: is the column of the diagnosis the right one?")
    return "\n".join(lines)


def _flow(content: Mapping[str, object]) -> str:
    """One line of YAML, since logs remove the blanks before a line."""
    yaml, text = YAML(typ="safe"), StringIO()
    yaml.default_flow_style, yaml.width, yaml.allow_unicode = True, 2**30, True
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]  # ruamel declares it as None
    yaml.dump(content, text)
    return text.getvalue().strip().removeprefix("{").removesuffix("}")
