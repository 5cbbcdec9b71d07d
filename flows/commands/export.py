"""`dermflow export`: the model for use in a form that needs no Dermflow."""

from __future__ import annotations

from pathlib import Path

from components.base.errors import RunError
from flows.prediction.models import find_bundle
from flows.settings import load_settings


def export(folder: Path, *, onnx: bool, timm: bool, model: str | None) -> str:
    """Write the folder, and say how it is used.

    Args:
        folder: to write; a new or empty one, or an earlier export, which is replaced.
        onnx: the classifier as an ONNX model.
        timm: the encoder as timm loads it.
        model: as `find_bundle` takes it.

    Raises:
        RunError: where not exactly one form is wanted, or the folder holds anything but an earlier export.
    """
    if onnx == timm:
        raise RunError("export: expected one of --onnx and --timm")
    _check_free(folder)
    bundle = find_bundle(model, load_settings().paths.bundle)
    if onnx:
        from components.deployment.onnx_model import LOADER, export_onnx

        path = export_onnx(bundle, folder)
        return f"{path}: python {folder / LOADER} IMAGE predicts with it; needs onnxruntime, numpy and pillow"
    from components.deployment.timm_encoder import export_timm

    export_timm(bundle, folder)
    return f"{folder}: timm.create_model('local-dir:{folder}', pretrained=True, num_classes=0) loads it"


EXPORTED = ({"model.onnx", "bundle.json", "predict.py"}, {"config.json", "model.safetensors", "README.md"})
"""Files of an export in either form."""


def _check_free(folder: Path) -> None:
    """Nothing but an earlier export may be replaced."""
    if folder.exists() and not folder.is_dir():
        raise RunError(f"{folder}: is a file, expected a new folder")
    names = {each.name for each in folder.iterdir()} if folder.exists() else set()
    if names and not any(names <= form for form in EXPORTED):
        raise RunError(f"{folder}: holds other files ({', '.join(sorted(names)[:3])}), expected a new or empty folder")
