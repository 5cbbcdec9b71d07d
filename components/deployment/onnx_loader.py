"""Predict images with the exported model: `python predict.py IMAGE ...`. Needs onnxruntime, numpy and pillow alone."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

HERE = Path(__file__).resolve().parent


def weights(old: int, new: int, shrinks: bool) -> Any:
    """How much each of `old` pixels counts in each of `new`: by overlap where the image shrinks, else linearly."""
    before, after = np.arange(old), np.arange(new)[:, None]
    if shrinks:
        low, high = after * old / new, (after + 1) * old / new
        return np.clip(np.minimum(high, before + 1) - np.maximum(low, before), 0, None) * new / old
    centres = np.clip((after + 0.5) * old / new - 0.5, 0, old - 1)
    return np.clip(1 - np.abs(centres - before), 0, None)


def read(file: Path | str, size: int, fit: str) -> Any:
    """The image as the model expects it: (size, size, 3) uint8."""
    image = np.asarray(ImageOps.exif_transpose(Image.open(file)).convert("RGB"), float)
    side = min(image.shape[:2]) if fit == "crop" else max(image.shape[:2])
    if fit == "crop":
        top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
        image = image[top : top + side, left : left + side]
    high, wide = (max(1, round(length * size / side)) for length in image.shape[:2])
    shrinks = high * wide < image.shape[0] * image.shape[1]
    rows, columns = weights(image.shape[0], high, shrinks), weights(image.shape[1], wide, shrinks)
    resized = np.einsum("ih,hwc,jw->ijc", rows, image, columns, optimize=True)
    canvas = np.zeros((size, size, 3), np.uint8)
    top, left = (size - high) // 2, (size - wide) // 2
    canvas[top : top + high, left : left + wide] = np.rint(resized).clip(0, 255)
    return canvas


def predict(files: list[str]) -> Iterator[dict[str, Any]]:
    """One answer for each file: probabilities, decision, classes that cannot be excluded."""
    about = json.loads((HERE / "bundle.json").read_text(encoding="utf-8"))
    session = onnxruntime.InferenceSession(HERE / "model.onnx", providers=["CPUExecutionProvider"])
    images = np.stack([read(file, about["image_size"], about["fit"]) for file in files])
    trained, restored, shown = session.run(None, {"images": images})
    malignant = np.isin(about["classes"], about["malignant"])
    limits = [np.inf if about["conformal"]["limits"][name] is None else about["conformal"]["limits"][name]
              for name in about["classes"]]  # fmt: skip
    for file, p, r, s in zip(files, trained, restored, shown, strict=True):
        point = None if about["point"] is None else about["points"][about["point"]]
        yield {
            "image": str(file),
            "synthetic": about["synthetic"],
            "predicted": about["classes"][int(p.argmax())],
            "probabilities": dict(zip(about["classes"], s.astype(float).tolist(), strict=True)),
            "malignant": None if point is None else bool(r[malignant].sum() >= point["threshold"]),
            "set": [name for name, q, limit in zip(about["classes"], r, limits, strict=True) if 1 - q <= limit],
            "answered": bool(p.max() >= about["abstention"]["threshold"]),
        }


if __name__ == "__main__":
    for answer in predict(sys.argv[1:]):
        print(json.dumps(answer))  # noqa: T201
