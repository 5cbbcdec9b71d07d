"""The arm without pretraining leaves the weights as they were drawn."""

from __future__ import annotations

from components.base.log import SilentLog
from components.models.encoder import weights_sha256
from components.pretraining import random
from tests.unit.pretraining.small_pretraining import BACKBONE, SESSION, draw_encoder


def test_fit_changes_no_weight(train, val):
    encoder = draw_encoder()
    before = weights_sha256(encoder)
    assert random.Config().fit(encoder, backbone=BACKBONE, train=train, val=val, session=SESSION, log=SilentLog()) == []
    assert weights_sha256(encoder) == before
