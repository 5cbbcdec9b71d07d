"""`dermflow export`: the model for use in a form that needs no Dermflow."""

from __future__ import annotations

from pathlib import Path

from components.base.errors import RunError
from flows.prediction.models import find_bundle
from flows.settings import load_settings


def export(folder: Path, *, onnx: bool, timm: bool, model: str | None) -> str:
    """Write the folder, and say how it is used.

    Args:
        folder: to write; is replaced where it exists.
        onnx: the classifier as an ONNX model.
        timm: the encoder as timm loads it.
        model: as `find_bundle` takes it.

    Raises:
        RunError: where not exactly one form is wanted.
    """
    if onnx == timm:
        raise RunError("export: expected one of --onnx and --timm")
    bundle = find_bundle(model, load_settings().paths.bundle)
    if onnx:
        from components.deployment.onnx_model import LOADER, export_onnx

        path = export_onnx(bundle, folder)
        return f"{path}: python {folder / LOADER} IMAGE predicts with it; needs onnxruntime, numpy and pillow"
    from components.deployment.timm_encoder import export_timm

    export_timm(bundle, folder)
    return f"{folder}: timm.create_model('local-dir:{folder}', pretrained=True, num_classes=0) loads it"
