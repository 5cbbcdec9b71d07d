"""What a first study of a data set needs: classes, malignant diagnoses, a size. Every guess is told to a person."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from components.base.errors import DataError
from components.data.diagnosis_words import is_malignant
from flows.first_look.dataset import SeenDataset

LEAST_GROUPS = 5
"""Groups of a class below which it is left out: 3 in train, one each in val and test."""

MANY_CLASSES = 12
SMALL = 1500
"""Labelled images below which the small preset is the base."""

SEVEN = frozenset({"akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"})
"""The diagnoses of the scheme `seven` in presets/demo.yaml."""

_TOO_GENERAL = frozenset({"images", "image", "data", "dataset", "pictures", "bilder", "img", "train", "raw", ""})


@dataclass(frozen=True)
class Proposal:
    """What a preset says besides `dataset`."""

    name: str
    """Of the preset and the study."""
    base: str
    """The preset that it builds on."""
    classes: tuple[str, ...]
    """Each a diagnosis, in alphabetical order."""
    left_out: dict[str, int]
    """Diagnosis with too few groups -> images."""
    malignant: tuple[str, ...] | None
    """None where that of a class is not known."""
    unknown: tuple[str, ...]
    """Classes of which it is not known."""
    without: tuple[str, ...]
    """What too many images lack: age, sex, site."""
    left_out_share: float
    """Images outside the classes, of all."""

    @property
    def seven(self) -> bool:
        """Whether the classes are those of the scheme `seven`."""
        return set(self.classes) == SEVEN


def propose(seen: SeenDataset, name: str | None = None) -> Proposal:
    """The proposal for a data set.

    Args:
        seen: the data set.
        name: of the study; by default made of the folder's name.

    Raises:
        DataError: where there are not two classes with enough groups; it lists the diagnoses.
    """
    counts = seen.diagnoses
    kept = sorted(word for word, (_, groups) in counts.items() if groups >= LEAST_GROUPS)
    if len(kept) < 2:
        found = ", ".join(
            f"{word} ({images} images, {groups} {seen.unit})" for word, (images, groups) in counts.items()
        )
        raise DataError(
            f"{seen.look.root}: {len(kept)} diagnoses have at least {LEAST_GROUPS} {seen.unit}, expected 2 or more; "
            f"found {found or 'no diagnosis'}. Is the column or folder of the diagnosis the right one?"
        )
    verdicts = {word: is_malignant(word) for word in kept}
    unknown = tuple(word for word, verdict in verdicts.items() if verdict is None)
    malignant = tuple(word for word, verdict in verdicts.items() if verdict)
    labelled = sum(counts[word][0] for word in kept)
    left_out = {word: images for word, (images, _) in counts.items() if word not in kept}
    return Proposal(
        name=name or name_of(seen.look.root),
        base="small" if labelled < SMALL else "ham10000",
        classes=tuple(kept),
        left_out=left_out,
        malignant=None if unknown else malignant,
        unknown=unknown,
        without=tuple(what for what, share in seen.missing_shares.items() if share > 0.4),
        left_out_share=sum(left_out.values()) / len(seen.table),
    )


def name_of(root: Path) -> str:
    """A name from that of the folder; from the folder above where it says nothing, such as `images`."""
    place = root.resolve()
    names = [re.sub(r"[^a-z0-9]+", "_", part.lower()).strip("_") for part in (place.name, place.parent.name)]
    chosen = names[1] if names[0] in _TOO_GENERAL and names[1] not in _TOO_GENERAL else names[0]
    named = chosen if re.match(r"[a-z]", chosen) else f"study_{chosen}"
    return named[:64].strip("_")
