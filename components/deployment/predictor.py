"""Answers for images, from a bundle: the same numbers that the study measured.

Letters: N images, K classes, S the image's side in pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from components.base.log import Log, SilentLog
from components.data.pixels import square
from components.deployment.bundle import (
    CLASSIFIER,
    Bundle,
    architecture,
    check_unchanged,
    load_classifier,
    load_outliers,
)
from components.deployment.decisions import Answers, decide
from components.deployment.outliers import OutlierReference
from components.models.classifier import Classifier, predict_features
from components.models.encoder import Ints, embed, read_batches
from components.training.session import open_session
from components.training.settings import Compute
from components.validation.image_facts import decode

Images = np.ndarray[Any, np.dtype[np.uint8]]

UNSURE = "confidence {confidence:.3f} is below {threshold:.3f}, which {answered:.0%} of the val images reach"
UNLIKE = "unlike the train images: {p:.2%} of val, this image counted with it, is as far from them; limit {unlike:.2%}"

WORDS = pd.ArrowDtype(pa.list_(pa.string()))


@dataclass(frozen=True)
class Predictor:
    """A bundle in memory, ready to answer."""

    bundle: Bundle
    classifier: Classifier
    outliers: OutlierReference

    @classmethod
    def open(cls, bundle: Bundle, *, device: str = "auto", threads: int = 1, log: Log | None = None) -> Predictor:
        """Load the tensors.

        Always float32 without compilation and with deterministic algorithms, as `evaluate` predicts.

        Args:
            bundle: verified, of `open_bundle`.
            device: `auto`, `cpu` or `cuda`.
            threads: of torch on a CPU.
            log: gets one line about the hardware.

        Raises:
            CheckpointError: where the present code cannot build the classifier.
            SettingsError: where a GPU is required and there is none.
        """
        classifier, outliers = load_classifier(bundle), load_outliers(bundle)
        check_unchanged(bundle)
        compute = Compute.model_validate(
            {"device": device, "threads": threads, "precision": "32-true", "compile": False}
        )
        cpu = architecture(bundle.manifest.backbone, bundle.folder / CLASSIFIER).cpu
        session = open_session(compute, cpu=cpu, seed=0, checkpoint=None, log=log or SilentLog())
        session.place(classifier)
        return cls(bundle, classifier, outliers)

    def read(self, data: bytes) -> Images:
        """The pixels of an encoded image, (S, S, 3) uint8 RGB, as the stage `pack` makes them.

        Raises:
            UndecodableError: where the bytes are no complete image that can be read.
        """
        manifest = self.bundle.manifest
        return square(decode(data)[1], manifest.image_size, manifest.fit)

    def predict(self, pixels: Images) -> pd.DataFrame:
        """The answers for images (N, S, S, 3) uint8 RGB, a row each.

        Columns: `predicted` (class with the highest probability where all classes are equally important), `p_CLASS`
        (calibrated), `p_malignant` (their sum over malignant classes), `malignant` (the decision at the operating
        point), `set` (list of the classes that cannot be excluded), `abstain` and `reason`, `confidence`,
        `outlier_p` (share of val images that are as far from the train images), `trained_CLASS` (the probabilities as
        trained, as `evaluate` writes them). Where it is not known which classes are malignant, `p_malignant` and
        `malignant` are null.
        """
        return self.predict_batches(lambda rows: pixels[rows], len(pixels))

    def predict_batches(self, take: Callable[[Ints], Images], count: int) -> pd.DataFrame:
        """As `predict`, of images that are read batch by batch.

        Args:
            take: row numbers (B,) to images (B, S, S, 3) uint8, such as `Pixels.take`.
            count: N.
        """
        found = [self._answer(batch) for batch in read_batches(take, np.arange(count))]
        return pd.concat(found, ignore_index=True) if found else self._table(*self._no_image())

    def _answer(self, batch: Any) -> pd.DataFrame:
        features = embed(self.classifier.encoder, [batch])
        p = predict_features(self.classifier.head, features)
        standardised = self.classifier.head.standardisation(features.to(self.classifier.encoder.mean.device))
        return self._table(p, self.outliers.distances(standardised.cpu().numpy()))

    def _no_image(self) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        return np.empty((0, len(self.bundle.manifest.classes))), np.empty(0)

    def _table(self, p: np.ndarray[Any, Any], distances: np.ndarray[Any, Any]) -> pd.DataFrame:
        manifest = self.bundle.manifest
        answers, outlier_p = decide(p, manifest), self.outliers.p_values(distances)
        names = np.array(manifest.classes, dtype=object)
        reasons = self._reasons(answers, outlier_p)
        null = np.full(len(p), None, dtype=object)
        return pd.DataFrame(
            {
                "predicted": pd.array(names[answers.predicted].tolist(), dtype="str"),
                **{f"p_{name}": answers.probabilities[:, k] for k, name in enumerate(manifest.classes)},
                "p_malignant": np.full(len(p), np.nan) if answers.malignancy is None else answers.malignancy,
                "malignant": pd.array(null if answers.malignant is None else answers.malignant, dtype="boolean"),
                "set": pd.Series([names[row].tolist() for row in answers.sets], dtype=WORDS),
                "abstain": np.array([reason != "" for reason in reasons], dtype=bool),
                "reason": pd.array(reasons, dtype="str"),
                "confidence": answers.confidence,
                "outlier_p": outlier_p,
                **{f"trained_{name}": p[:, k] for k, name in enumerate(manifest.classes)},
            }
        )

    def _reasons(self, answers: Answers, outlier_p: np.ndarray[Any, Any]) -> list[str]:
        """Why an image is not answered; empty where it is."""
        manifest, found = self.bundle.manifest, []
        for sure, confidence, p in zip(answers.sure, answers.confidence, outlier_p, strict=True):
            unsure = UNSURE.format(confidence=confidence, **manifest.abstention.model_dump())
            unlike = UNLIKE.format(p=p, unlike=manifest.unlike)
            found.append("; ".join([*([] if sure else [unsure]), *([unlike] if p <= manifest.unlike else [])]))
        return found
