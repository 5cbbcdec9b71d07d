"""Pretrain the encoder of one arm with one seed of the study.

With one seed, all arms start from the same random weights; with another seed, weights, batches and whatever else the
method draws are new. Every arm gives a file of the same form.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from components.base.log import Log
from components.base.run_id import encoder_name
from components.data.pixels import Pixels, read_pixels
from components.models.backbone import Architecture, Backbone
from components.models.encoder import Encoder, effective_rank, embed, read_batches, weights_sha256
from components.models.weights_file import save_encoder
from components.pretraining import Method, choose_architecture, find_alarms
from components.training.session import Session, open_session
from components.training.settings import Compute
from flows.settings.study import Paths
from flows.settings.training import Pretrain as PretrainSettings
from flows.stage import stage
from flows.stage_io.files import write_curve
from flows.stage_io.methods import check_method, choose_method


@stage(resumes=True)
def pretrain(
    arm: str, seed: int, backbone: Backbone, pretrain: PretrainSettings, paths: Paths, compute: Compute, log: Log
) -> Mapping[str, Any]:
    """Train on train and unlabelled images, measure on val; test images are not read."""
    method, name = choose_method(arm, pretrain), encoder_name(arm, seed)
    check_method(arm, method, paths)
    architecture = choose_architecture(method, backbone)
    train = read_pixels(paths.pixels / "train", paths.pixels / "unlabelled")
    val = read_pixels(paths.pixels / "val")
    folder = paths.checkpoints / "pretrain" / name
    session = open_session(compute, cpu=architecture.cpu, seed=seed, checkpoint=folder, log=log)
    encoder = _draw_encoder(architecture, seed)
    history = method.fit(encoder, backbone=backbone, train=train, val=val, session=session, log=log)
    curve = history or [_measure(encoder, val, session)]
    settings = method.model_dump(mode="json")
    alarms = find_alarms(method, history)
    header = {"arm": arm, "seed": seed, "baseline": method.baseline, "alarms": alarms, "settings": settings}
    if session.leads:
        save_encoder(paths.encoders / f"{name}.safetensors", encoder, architecture, header)
        write_curve(paths.curves / "pretrain" / f"{name}.csv", curve, first=1 if history else 0)
    log.tags({"weights/sha256": weights_sha256(encoder)})
    session.forget()
    origin = {"trained": bool(history), "alarms": alarms, "licence": _licence(method)}
    return {"images": len(train), "epochs": len(history), **curve[-1], **origin}


def _draw_encoder(architecture: Architecture, seed: int) -> Encoder:
    """The encoder with random weights that depend on the seed only."""
    torch.manual_seed(seed)
    return architecture.build()


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
