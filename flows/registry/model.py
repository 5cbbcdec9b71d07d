"""A bundle as a model folder of MLflow: flavour `python_function`, source code and pinned packages with it.

Input: one text column `image`, the path of an image file or the base64 of its bytes. Output: `Predictor.predict`.
"""

from __future__ import annotations

import base64
import warnings
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, DataType, Schema, TensorSpec
from mlflow.types.schema import Array as ArrayType
from pandas.errors import Pandas4Warning

import components
from components.deployment import pyfunc
from components.deployment.bundle import Bundle
from components.deployment.manifest import Manifest
from flows.registry.requirements import pinned


def write_model(bundle: Bundle, folder: Path, *, run_id: str | None, model_id: str | None) -> None:
    """Write a bundle as an MLflow model.

    Args:
        bundle: is copied, byte for byte.
        folder: must not exist.
        run_id: of the MLflow run of the stage `bundle`; None where it is not known.
        model_id: of the logged model that the folder is for; None for a folder alone.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*type hint is inferred as AnyType")  # MLflow's, about its own types
        warnings.filterwarnings("ignore", category=Pandas4Warning)  # how MLflow writes the example
        from mlflow.pyfunc import save_model

        save_model(
            str(folder),
            loader_module=pyfunc.__name__,
            data_path=str(bundle.folder),
            code_paths=[str(Path(components.__file__).parent)],
            mlflow_model=Model(artifact_path="model", run_id=run_id, model_id=model_id),
            signature=signature(bundle.manifest),
            input_example=example(bundle.manifest.image_size),
            pip_requirements=pinned(),
            metadata={"bundle": bundle.sha256, "run": bundle.manifest.run},
        )


def signature(manifest: Manifest) -> ModelSignature:
    """Columns and types of input and output; what can be unknown is optional."""
    text, number, flag = DataType.string, DataType.double, DataType.boolean
    outputs: dict[str, DataType | ArrayType] = {
        "predicted": text,
        **{f"p_{name}": number for name in manifest.classes},
        "p_malignant": number,
        "malignant": flag,
        "set": ArrayType(text),
        "abstain": flag,
        "reason": text,
        "confidence": number,
        "outlier_p": number,
        **{f"trained_{name}": number for name in manifest.classes},
    }
    optional = ("p_malignant", "malignant")
    columns: list[ColSpec | TensorSpec] = [
        ColSpec(kind, name, required=name not in optional) for name, kind in outputs.items()
    ]
    return ModelSignature(inputs=Schema([ColSpec(text, pyfunc.COLUMN)]), outputs=Schema(columns))


def example(side: int) -> pd.DataFrame:
    """One drawn image in the input's form: a dark disk on skin colour."""
    picture = np.full((side, side, 3), (150, 180, 220), np.uint8)  # BGR
    cv2.circle(picture, (side // 2, side // 2), side // 4, (60, 80, 110), -1)
    encoded = cv2.imencode(".png", picture)[1].tobytes()
    return pd.DataFrame({pyfunc.COLUMN: [base64.b64encode(encoded).decode("ascii")]})
