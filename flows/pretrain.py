"""Pretrain the encoder of one arm: all arms start from the same random weights and give a file of the same form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from components.base.errors import SettingsError
from components.base.log import Log
from components.data.pixels import Pixels, read_pixels
from components.models.backbone import Backbone
from components.models.encoder import Encoder, effective_rank, embed, read_batches, weights_sha256
from components.models.weights_file import save_encoder
from components.pretraining import Method, choose_backbone
from components.training.session import Session, open_session
from components.training.settings import Compute
from flows.settings.study import Paths
from flows.settings.training import Pretrain as PretrainSettings
from flows.stage import stage
from flows.stage_io.files import write_curve


@stage(resumes=True)
def pretrain(
    arm: str, backbone: Backbone, pretrain: PretrainSettings, paths: Paths, compute: Compute, log: Log
) -> Mapping[str, Any]:
    """Train on train and unlabelled images, measure on val; test images are not read."""
    method = _method(pretrain, arm)
    backbone = choose_backbone(method, backbone)
    train = read_pixels(paths.pixels / "train", paths.pixels / "unlabelled")
    val = read_pixels(paths.pixels / "val")
    folder = paths.checkpoints / "pretrain" / arm
    session = open_session(compute, cpu=backbone.cpu, seed=pretrain.seed, checkpoint=folder, log=log)
    encoder = _draw_encoder(backbone, pretrain.seed)
    history = method.fit(encoder, backbone=backbone, train=train, val=val, session=session, log=log)
    curve = history or [_measure(encoder, val, session)]
    settings = {**method.model_dump(mode="json"), "seed": pretrain.seed}
    provenance = {"arm": arm, "baseline": method.baseline, "settings": settings}
    if session.leads:
        save_encoder(paths.encoders / f"{arm}.safetensors", encoder, backbone, provenance)
        write_curve(paths.curves / "pretrain" / f"{arm}.csv", curve, first=1 if history else 0)
    log.tags({"weights/sha256": weights_sha256(encoder)})
    session.forget()
    origin = {"trained": bool(history), "licence": _licence(method)}
    return {"images": len(train), "epochs": len(history), **curve[-1], **origin}


def _method(pretrain: PretrainSettings, arm: str) -> Method:
    if arm not in pretrain.arms:
        raise SettingsError(f"arm {arm!r} is none of pretrain.arms {sorted(pretrain.arms)} (params.yaml)")
    return pretrain.arms[arm]


def _draw_encoder(backbone: Backbone, seed: int) -> Encoder:
    """The encoder with random weights that depend on the seed only."""
    torch.manual_seed(seed)
    return backbone.build()


def _measure(encoder: Encoder, val: Pixels, session: Session) -> dict[str, float]:
    """The one row of an arm that trains nothing: the effective rank of its features of val images."""
    session.place(encoder)
    with session.autocast():
        return {"val/effective_rank": effective_rank(embed(encoder, read_batches(val.take, np.arange(len(val)))))}


def _licence(method: Method) -> dict[str, Any] | None:
    """Terms of the published weights that the encoder started from, for the cards; None where there are none."""
    return None if method.licence is None else asdict(method.licence)


if __name__ == "__main__":
    pretrain.main()
