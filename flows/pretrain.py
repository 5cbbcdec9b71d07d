"""Fit one arm's encoder: every arm starts from the same drawn weights and ends in the same artifact."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from components.base.errors import SettingsError
from components.base.files import whole
from components.base.log import Log
from components.data.pixels import Pixels, read_pixels
from components.models.backbone import Backbone
from components.models.encoder import Encoder, effective_rank, embed, to_tensor, weights_sha256
from components.models.weights_file import save_encoder
from components.pretraining import Method
from components.training.session import Session, open_session
from flows.settings.study import Compute, Paths
from flows.settings.training import Pretrain as PretrainSettings
from flows.stage import stage

Curve = Sequence[Mapping[str, float]]
LOOK = 256  # images a batch where nothing is learned


@stage(resumes=True)
def pretrain(
    arm: str, backbone: Backbone, pretrain: PretrainSettings, paths: Paths, compute: Compute, log: Log
) -> Mapping[str, float]:
    """Learn from train and unlabelled images, look at val; test images stay closed."""
    method = _method(pretrain, arm)
    train = read_pixels(paths.pixels / "train", paths.pixels / "unlabelled")
    val = read_pixels(paths.pixels / "val")
    folder = paths.checkpoints / "pretrain" / arm
    session = open_session(**compute.model_dump(), cpu=backbone.cpu, seed=pretrain.seed, checkpoint=folder, log=log)
    encoder = _draw(backbone, pretrain.seed)
    curve = method.fit(encoder, backbone, train, val, session, log) or [_look(encoder, val, session)]
    settings = {**method.model_dump(mode="json"), "seed": pretrain.seed}
    if session.leads:
        save_encoder(paths.encoders / f"{arm}.safetensors", encoder, backbone, {"arm": arm, "settings": settings})
        _write(paths.curves / "pretrain" / f"{arm}.csv", curve)
    log.tags({"weights/sha256": weights_sha256(encoder)})
    session.forget()
    return {"images": len(train), "epochs": len(curve), **curve[-1]}


def _method(pretrain: PretrainSettings, arm: str) -> Method:
    """The arm's way to get weights."""
    if arm not in pretrain.arms:
        raise SettingsError(f"arm {arm!r} is none of pretrain.arms {sorted(pretrain.arms)} (params.yaml)")
    return pretrain.arms[arm]


def _draw(backbone: Backbone, seed: int) -> Encoder:
    """The encoder with random weights that the seed alone decides."""
    torch.manual_seed(seed)
    return backbone.build()


def _look(encoder: Encoder, val: Pixels, session: Session) -> dict[str, float]:
    """The one row of an arm that learns nothing: how many directions its features of val images fill."""
    session.place(encoder)
    with session.autocast():
        return {"val/effective_rank": effective_rank(embed(encoder, _in_order(val)))}


def _in_order(pixels: Pixels) -> Iterator[Tensor]:
    rows = np.arange(len(pixels))
    return (to_tensor(pixels.take(rows[start : start + LOOK])) for start in range(0, len(rows), LOOK))


def _write(path: Path, curve: Curve) -> None:
    """One row an epoch, the epoch first; an arm that learns nothing has one row."""
    with whole(path) as unfinished:
        pd.DataFrame(list(curve)).to_csv(unfinished, index_label="epoch", lineterminator="\n")


if __name__ == "__main__":
    pretrain.main()
