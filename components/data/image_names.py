"""What a person may call an image: its path, its id in the data set, or its pseudonym."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from components.base.normal_form import clean_id, clean_path
from components.data.privacy import pseudonym


def path_forms(name: str, root: Path) -> list[str]:
    """The paths below a data set's folder that a name may mean, in the form of `clean_path`.

    Args:
        name: a path below `root`, or one that begins with `root`, relative to the current folder or absolute.
        root: folder of the data set.
    """
    form = clean_path(name)
    starts = [f"{clean_path(str(place))}/" for place in (root, root.resolve())]
    return [form, *(form.removeprefix(start) for start in dict.fromkeys(starts) if form.startswith(start))]


@dataclass(frozen=True)
class ImageNames:
    """The images of a data set by their names."""

    root: Path
    """Folder of the data set."""
    ids: frozenset[str]
    """The image_ids, which are pseudonyms where `key` is one."""
    sources: tuple[str, ...]
    paths: Mapping[str, frozenset[str]]
    """`clean_path` of a path -> image_ids."""
    key: bytes | None
    """Of the images' pseudonyms; None: the ids are the data set's own."""

    @classmethod
    def of(cls, records: pd.DataFrame, root: Path, key: bytes | None) -> ImageNames:
        """The images of `records`: image_id, path and source."""
        forms = records["path"].map(clean_path)
        return cls(
            root=root,
            ids=frozenset(records["image_id"]),
            sources=tuple(sorted(records["source"].unique())),
            paths={str(form): frozenset(ids) for form, ids in records.groupby(forms)["image_id"]},
            key=key,
        )

    def find(self, name: str) -> dict[str, frozenset[str]]:
        """The way in which a name was understood (`id`, `id of the data set`, `path`) -> the image_ids that it means.

        Names are compared in their normal form. A way that gives no image is left out.
        """
        form = clean_id(name)
        own = () if self.key is None else (pseudonym("image", source, form, self.key) for source in self.sources)
        found = {
            "id": self.ids & {form},
            "id of the data set": self.ids & set(own),
            "path": frozenset().union(*(self.paths.get(path, frozenset()) for path in path_forms(name, self.root))),
        }
        return {way: images for way, images in found.items() if images}
