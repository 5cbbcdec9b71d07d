"""`dermflow augment`: the augmentation of the active experiment, as a picture and as a file for albumentations."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from ruamel.yaml import YAML

from components.base.files import whole
from components.base.run_id import FinetuneProtocol
from components.models.encoder import IMAGENET_MEAN, IMAGENET_STD, Images, Ints
from components.report.figures import save, shorten
from components.training.batches import EpochBatches
from components.training.figures import augmentation
from components.training.finetune_batches import FinetuneBatches
from flows.commands.study_trainings import finetune_batches
from flows.settings import load_settings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ABOUT = """\
The changes to a train image, in this order. albumentations.load(FILE, data_format="yaml") reads this file.
The random draws of an image come from one generator, seeded by seed, epoch and the image's position in the epoch
(components/training/augment.py). Images are uint8 throughout; the encoder normalises them afterwards.
"""


def augment(images: int, epochs: int, echo: Callable[[str], None]) -> list[Path]:
    """Write the augmentation policy and a picture of augmented train images; returns both files."""
    settings = load_settings()
    only_frozen = set(settings.study.protocols) == {FinetuneProtocol.FROZEN}
    protocol = FinetuneProtocol.FROZEN if only_frozen else FinetuneProtocol.FULL
    batches, folder = finetune_batches(settings, protocol), settings.paths.reports / "augment"
    policy, picture = folder / "policy.yaml", folder / "samples.png"
    with whole(policy) as unfinished:
        _write_policy(unfinished, batches)
    with whole(picture) as unfinished:
        save(_draw_samples(batches, images, epochs), unfinished, dpi=150)
    echo(f"train images: {_describe(batches)}; drawn for {protocol}, seed {batches.seed}")
    return [policy, picture]


def _mixing(batches: FinetuneBatches) -> dict[str, float] | None:
    """The alphas of mixup and cutmix; None where images are not mixed."""
    finetune = batches.conditions.finetune
    return None if batches.mixing is None else {"mixup": finetune.mixup, "cutmix": finetune.cutmix}


def _describe(batches: FinetuneBatches) -> str:
    mixing = [f"{name} {alpha:g}" for name, alpha in (_mixing(batches) or {}).items() if alpha]
    return ", ".join([batches.conditions.augment.describe(), *mixing])


def _write_policy(path: Path, batches: FinetuneBatches) -> None:
    """The transforms as albumentations serialises them, with the settings that they were built from."""
    content = {
        "augment": batches.conditions.augment.model_dump(),  # as in params.yaml
        "seed": batches.seed,
        "sha256": batches.augmentation_sha256(),
        **batches.augmentation.serialized(),
        "mixing": _mixing(batches),
        "normalisation": {"mean": list(IMAGENET_MEAN), "std": list(IMAGENET_STD), "of": "pixels in [0, 1]"},
    }
    yaml = YAML()
    with path.open("w") as file:
        file.writelines(f"# {line}\n" for line in ABOUT.splitlines())
        yaml.dump(content, file)


def _draw_samples(batches: FinetuneBatches, images: int, epochs: int) -> Figure:
    """Rows of images; a column an epoch, or a view where a frozen encoder gets the same views each epoch."""
    rows = _rows_of_all_classes(batches, images)
    conditions = batches.conditions
    views = None if conditions.trains_encoder else conditions.finetune.views
    if views is None:
        columns = {f"epoch {epoch + 1}": _drawn(batches.mixed(epoch), rows) for epoch in range(epochs)}
    else:
        columns = {f"view {number + 1}": _viewed(batches, number, rows) for number in range(min(views, epochs))}
    index = batches.train.pixels.index.iloc[rows]
    return augmentation.draw(
        list(batches.train.pixels.take(rows)),
        list(columns.values()),
        rows=[*zip(*(map(shorten, index[name]) for name in ("label", "image_id")), strict=True)],
        columns=list(columns),
        title=_describe(batches),
    )


def _rows_of_all_classes(batches: FinetuneBatches, count: int) -> Ints:
    """Row numbers of the first images of each class, equally many of each where it has enough."""
    labels = pd.Series(batches.train.labels)
    table = pd.DataFrame({"label": labels, "number": labels.groupby(labels).cumcount()})
    chosen = table.sort_values(["number", "label"], kind="stable").head(count).sort_values(["label", "number"])
    return chosen.index.to_numpy(dtype=np.int64)


def _drawn(epoch: EpochBatches, rows: Ints) -> list[Images | None]:
    """The images at `rows` as training gets them in an epoch; None for one that the epoch does not draw."""
    found: dict[int, Images] = {}
    position = 0
    for step, batch in enumerate(epoch.rows):
        if np.isin(batch, rows).any():
            images, _ = epoch.draw(step, batch, position)
            found |= {int(row): image for row, image in zip(batch, _as_array(images), strict=True)}
        position += len(batch)
    return [found.get(int(row)) for row in rows]


def _viewed(batches: FinetuneBatches, number: int, rows: Ints) -> list[Images | None]:
    images = np.concatenate([_as_array(block) for block in batches.view(number)])
    return list(images[rows])


def _as_array(images: torch.Tensor) -> Images:
    """(B, 3, S, S) to (B, S, S, 3)."""
    return np.asarray(images.permute(0, 2, 3, 1).numpy())
