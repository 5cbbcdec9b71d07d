"""Simulated classifiers with a known truth: perfectly calibrated ones, and overconfident ones."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.special import softmax

from components.base.run_id import FinetuneProtocol, RunId
from components.statistics.resampled import Resampled, resample
from components.statistics.runs import Run

CLASSES = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
SHARES = (0.04, 0.06, 0.12, 0.02, 0.12, 0.62, 0.02)
MALIGNANT = ("akiec", "bcc", "mel")
SEVERITY = {"routine": ("bkl", "df", "nv", "vasc"), "soon": ("akiec", "bcc"), "urgent": ("mel",)}
COSTS = ((0.0, 1.0, 2.0), (5.0, 0.0, 1.0), (20.0, 5.0, 0.0))


def calibrated(images: int, rng: np.random.Generator, spread: float = 1.5) -> tuple[np.ndarray, np.ndarray]:
    """Labels drawn from the predicted probabilities themselves: perfectly calibrated, (N,) and (N, 3)."""
    p = softmax(spread * rng.normal(size=(images, 3)), axis=1)
    return (rng.random((images, 1)) > p.cumsum(1)).sum(1).clip(max=2), p


def resampled(labels: np.ndarray, groups: np.ndarray | None = None, resamples: int = 200) -> Resampled:
    own = np.arange(len(labels)) if groups is None else groups
    return resample(labels, own, resamples, 0.95, np.random.default_rng(0))


def draw_lesions(lesions: int, split: str, rng: np.random.Generator) -> pd.DataFrame:
    """One to three images a lesion, seven classes, with what is known of each patient."""
    of_lesion = pd.DataFrame(
        {
            "lesion_id": [f"{split}_{place:04d}" for place in range(lesions)],
            "label": rng.choice(CLASSES, lesions, p=SHARES),
            "sex": rng.choice(["female", "male", "unknown"], lesions, p=[0.46, 0.51, 0.03]),
            "age": np.where(rng.random(lesions) < 0.03, np.nan, rng.normal(52, 17, lesions).clip(5, 90).round()),
            "site": rng.choice(["back", "leg", "trunk", "face", "ear"], lesions, p=[0.35, 0.25, 0.25, 0.14, 0.01]),
            "skin_type": pd.array([pd.NA] * lesions, dtype="Int64"),
            "source": "simulation",
        }
    )
    table = of_lesion.loc[np.repeat(np.arange(lesions), rng.choice([1, 2, 3], lesions, p=[0.65, 0.25, 0.1]))]
    names = [f"{split}_{place:05d}" for place in range(len(table))]
    return table.assign(image_id=names, group=table["lesion_id"], split=split).reset_index(drop=True)


def describe_files(images: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Facts of the images: sharpness and brightness."""
    sharpness, luma = rng.lognormal(5, 0.6, len(images)), rng.normal(150, 25, len(images))
    return pd.DataFrame({"image_id": images["image_id"], "sharpness": sharpness, "luma": luma})


def common_noise(images: pd.DataFrame, rng: np.random.Generator) -> np.ndarray:
    """(N, 7) what makes an image hard for every model; the images of a lesion share half of it."""
    member = np.unique(images["lesion_id"], return_inverse=True)[1]
    shared = rng.normal(size=(member.max() + 1, len(CLASSES)))[member]
    return np.sqrt(0.5) * shared + np.sqrt(0.5) * rng.normal(size=shared.shape)


def predict(
    images: pd.DataFrame, skill: float, temperature: float, common: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """(N, 7) probabilities by Bayes' rule from noisy evidence, then made `temperature` times overconfident.

    The evidence is the true class's place plus noise, most of it `common` to all models, so at temperature 1 the
    probabilities are right. Lesions on a leg give a third of the evidence.
    """
    labels = pd.Categorical(images["label"], categories=list(CLASSES)).codes
    noise = np.sqrt(0.8) * common + np.sqrt(0.2) * rng.normal(size=common.shape)
    strength = skill * np.where(images["site"] == "leg", 1 / 3, 1.0)[:, None]
    evidence = strength * (strength * np.eye(len(CLASSES))[labels] + noise) - strength**2 / 2
    return softmax(temperature * (evidence + np.log(SHARES)), axis=1)


def simulate(
    skills: dict[str, float], lesions: int = 600, seeds: int = 3, protocols: tuple[str, ...] = ("frozen",)
) -> tuple[list[Run], pd.DataFrame, pd.DataFrame]:
    """A study's runs, its accepted images and their facts; lesions on a `leg` are hard for every arm."""
    rng = np.random.default_rng(0)
    images = pd.concat([draw_lesions(lesions, split, rng) for split in ("val", "test")], ignore_index=True)
    common = common_noise(images, rng)
    runs = []
    for protocol in protocols:
        for arm, skill in skills.items():
            for seed in range(seeds):
                p = predict(images, skill + 0.05 * rng.normal(), 1.6, common, rng)
                columns = images[["image_id", "lesion_id", "group", "split", "label"]]
                table = columns.assign(**{f"p_{name}": p[:, k] for k, name in enumerate(CLASSES)})
                runs.append(Run(RunId(arm, FinetuneProtocol(protocol), seed), table))
    return runs, images, describe_files(images, rng)
