"""A bundle as an ONNX model: from square uint8 images to probabilities, without torch or Dermflow.

Inside the graph: scaling of the pixels, normalisation, network, head, softmax, the class frequencies restored, the
temperature, and the clinic's frequencies where they are stated. Outside is what ONNX cannot do in the same way:
decoding, and averaging pixels when an image shrinks. The loader beside the model (`onnx_loader.py`) does both and takes
the decisions; it needs onnxruntime, numpy and pillow alone. Letters: N images, K classes, S the image's side.
"""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from components.base.files import whole
from components.deployment.bundle import MANIFEST, Bundle, check_unchanged, load_classifier
from components.deployment.manifest import Manifest
from components.models.classifier import Classifier, StageStandardisation

MODEL, LOADER = "model.onnx", "predict.py"
OPSET = 18

INPUT, TRAINED, RESTORED, PROBABILITIES = "images", "trained", "restored", "probabilities"
"""Names in the graph: images (N, S, S, 3) uint8; probabilities (N, K) as trained, with the class frequencies of train
restored, and calibrated."""


class ExportedModel(nn.Module):
    """The classifier and what follows it, in operations that ONNX has."""

    def __init__(self, classifier: Classifier, manifest: Manifest) -> None:
        super().__init__()
        self.encoder = classifier.encoder
        self.layers = nn.Sequential(*list(classifier.head)[1:])
        scale, shift = _as_affine(classifier.head.standardisation)
        self.register_buffer("scale", scale)
        self.register_buffer("shift", shift)
        known = manifest.frequencies
        learned, train = (_shares(each, manifest) for each in (known.learned, known.train))
        clinic = train if known.clinic is None else _shares(known.clinic, manifest)
        self.register_buffer("to_train", torch.where(train > 0, train / learned, 0))
        self.register_buffer("to_clinic", torch.where(train > 0, clinic / train, 0))
        self.temperature = manifest.temperature

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(N, S, S, 3) uint8 to TRAINED, RESTORED and PROBABILITIES, (N, K) each."""
        features = self.encoder(images.permute(0, 3, 1, 2).float() / 255)
        logits = self.layers(features * self.scale + self.shift)
        trained = logits.softmax(1)
        weighted = trained * self.to_train
        restored = weighted / weighted.sum(1, keepdim=True)
        scaled = (restored.clamp(min=torch.finfo(torch.float32).tiny).log() / self.temperature).softmax(1)
        moved = scaled * self.to_clinic
        return trained, restored, moved / moved.sum(1, keepdim=True)


def _shares(shares: Any, manifest: Manifest) -> Tensor:
    return torch.tensor([shares[name] for name in manifest.classes], dtype=torch.float32)


def _as_affine(standardisation: StageStandardisation) -> tuple[Tensor, Tensor]:
    """Factor and summand of each feature, (D,) each; a silent feature has the factor 0."""
    scales, shifts = [], []
    for stage in standardisation.parts:
        scale = (stage.running_var.double() + stage.eps).rsqrt()  # the variance of a silent feature is infinite
        scales.append(scale)
        shifts.append(-stage.running_mean.double() * scale)
    return torch.cat(scales).float(), torch.cat(shifts).float()


def export_onnx(bundle: Bundle, folder: Path) -> Path:
    """Write the model, its manifest and the loader into a folder, whole or not at all.

    Args:
        bundle: verified.
        folder: is replaced where it exists.

    Returns:
        The file of the model.
    """
    manifest = bundle.manifest
    model = ExportedModel(load_classifier(bundle), manifest).eval()
    example = torch.zeros(2, manifest.image_size, manifest.image_size, 3, dtype=torch.uint8)
    names = {INPUT: {0: "images"}, **{name: {0: "images"} for name in (TRAINED, RESTORED, PROBABILITIES)}}
    with whole(folder) as part:
        part.mkdir()
        with warnings.catch_warnings(), torch.no_grad():
            # the exporter by tracing: the other one needs a package more, and this network has no branches
            warnings.filterwarnings("ignore", category=DeprecationWarning)
            torch.onnx.export(
                model,
                (example,),
                str(part / MODEL),
                input_names=[INPUT],
                output_names=[TRAINED, RESTORED, PROBABILITIES],
                dynamic_axes=names,
                opset_version=OPSET,
                dynamo=False,
            )
        _describe(part / MODEL, bundle)
        shutil.copyfile(bundle.folder / MANIFEST, part / MANIFEST)
        check_unchanged(bundle)
        shutil.copyfile(Path(__file__).with_name("onnx_loader.py"), part / LOADER)
    return folder / MODEL


def _describe(path: Path, bundle: Bundle) -> None:
    """Write run, bundle and classes into the model's own properties."""
    import onnx

    model = onnx.load(path)
    onnx.helper.set_model_props(
        model,
        {"dermflow.bundle": bundle.sha256, "dermflow.run": bundle.manifest.run,
         "dermflow.classes": json.dumps(bundle.manifest.classes)},
    )  # fmt: skip
    onnx.checker.check_model(model)
    onnx.save(model, path)
