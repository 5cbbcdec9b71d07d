"""The encoder of a bundle as a folder that timm loads: `timm.create_model("local-dir:FOLDER", pretrained=True)`.

Others may start their own training from it.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from components.base.errors import RunError
from components.base.files import whole
from components.deployment.bundle import CARD, Bundle, check_unchanged, load_classifier
from components.models.encoder import IMAGENET_MEAN, IMAGENET_STD


def export_timm(bundle: Bundle, folder: Path) -> Path:
    """Write config.json, model.safetensors and, where the bundle has one, the model card as README.md.

    Raises:
        RunError: where the encoder is no network of timm.
    """
    encoder = load_classifier(bundle).encoder
    cfg: dict[str, Any] | None = getattr(encoder.trunk, "pretrained_cfg", None)
    if not cfg:
        raise RunError(
            f"the encoder of {bundle.manifest.run} is {bundle.manifest.backbone}, which is no network of timm; "
            "expected a run whose backbone is one"
        )
    size = bundle.manifest.image_size
    config = {
        "architecture": cfg["architecture"],
        "num_classes": 0,
        "num_features": encoder.last_dim,
        "pretrained_cfg": {
            "tag": "dermflow",
            "custom_load": False,
            "input_size": [3, size, size],
            "fixed_input_size": False,
            "interpolation": "bilinear",
            "crop_pct": 1.0,
            "crop_mode": "center",
            "mean": IMAGENET_MEAN,
            "std": IMAGENET_STD,
            "num_classes": 0,
            "pool_size": None,
            "first_conv": cfg.get("first_conv"),
            "classifier": cfg.get("classifier"),
        },
        "dermflow": {"bundle": bundle.sha256, "run": bundle.manifest.run},
    }
    with whole(folder) as part:
        part.mkdir()
        (part / "config.json").write_text(json.dumps(config, indent=2) + "\n", "utf-8")
        state = {name: tensor.contiguous() for name, tensor in encoder.trunk.state_dict().items()}
        save_file(state, part / "model.safetensors", metadata={"format": "pt"})
        if CARD in bundle.manifest.files:
            shutil.copyfile(bundle.folder / CARD, part / "README.md")
        check_unchanged(bundle)
    return folder
