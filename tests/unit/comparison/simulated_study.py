"""A simulated study: the files that its stages would leave, in their documented schemas, drawn from a known truth."""

from __future__ import annotations

import hashlib
import json
from contextlib import chdir
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from components.base.families import members
from components.base.log import SilentLog
from components.base.run_id import FinetuneProtocol, RunId
from components.clinical.settings import Clinical
from components.comparison.comparison import Comparison, compare_runs
from components.comparison.settings import COMPARED_METRICS, Compare, Evaluate
from components.data.adapters.ham10000 import Config as Ham10000
from components.data.adapters.synthetic import Config as Synthetic
from components.data.labels import Labels
from components.models.backbones.timm import Config as Timm
from components.statistics.metrics.accuracy import accuracy
from components.statistics.metrics.balanced_accuracy import balanced_accuracy
from components.statistics.metrics.expected_calibration_error import expected_calibration_error
from components.statistics.runs import ENCODER, FINGERPRINTS, Run
from components.training.examples import matched_rows
from components.training.settings import Finetune
from flows.settings.data import Split
from flows.settings.study import Paths, Study
from flows.settings.training import Pretrain
from flows.stage_io.priors import read_priors
from flows.stage_io.question import build_question
from flows.stage_io.runs import read_complete_runs
from tests.unit.training.small_settings import NO_AUGMENT

CLASSES = ("bkl", "mel", "nv")
FOLDERS = {name: Path(name) for name in Paths.model_fields}


@dataclass(frozen=True)
class Truth:
    """How often each arm is right, and how far it overfits in the last epoch (loss)."""

    right: dict[str, float]
    gap: dict[str, float]
    seed_spread: float = 0.004  # standard deviation of a seed's share of right answers
    lesions: int = 300
    seeds: tuple[int, ...] = (0, 1, 2)
    protocols: tuple[FinetuneProtocol, ...] = (FinetuneProtocol.FROZEN, FinetuneProtocol.FULL)
    classes: tuple[str, ...] = CLASSES
    shares: tuple[float, ...] = (0.25, 0.2, 0.55)
    gap_spread: float = 0.003
    seed: int = 0
    epochs: int = 6
    baselines: tuple[str, ...] = ()
    paths: Paths = field(default_factory=lambda: Paths(**FOLDERS))


def settings(
    truth: Truth, reference: str = "imagenet", synthetic: bool = False, **compare: object
) -> dict[str, object]:
    """The keyword arguments of the stage, log included."""
    chosen = {
        "confidence": 0.95,
        "looks": None,
        "resamples": 400,
        "min_seeds": 3,
        "margin": 0.02,
        "power": 0.8,
        "onset": 0.05,
        "figures": members("comparison.figures"),
        "seed": 0,
    }
    chosen |= compare
    dataset = Synthetic if synthetic else Ham10000
    return {
        "study": Study(
            name="fabricated",
            arms=tuple(truth.right),
            protocols=truth.protocols,
            seeds=truth.seeds,
            reference=reference,
        ),
        "dataset": dataset.model_construct(kind=dataset.model_fields["kind"].default or "synthetic", path=Path("raw")),
        "labels": Labels(scheme="few", schemes={"few": {name: (name,) for name in truth.classes}}),
        "evaluate": Evaluate(metrics=COMPARED_METRICS, calibration_bins=15),
        "compare": Compare(**chosen),
        "clinical": clinical_settings(),
        "finetune": Finetune.model_construct(imbalance="none"),
        "split": Split.model_construct(seed=0),
        "augment": NO_AUGMENT,
        "backbone": Timm(name="test_efficientnet"),
        "pretrain": Pretrain.model_construct(arms={}),
        "external": (),
        "paths": truth.paths,
        "log": SilentLog(),
    }


def simulate_comparison(truth: Truth, folder: Path) -> tuple[Comparison, list[Run]]:
    """The comparison of a simulated study, and its runs."""
    with chdir(folder):
        fabricate(truth, Path())
        given = settings(truth)
        question = build_question(*(given[name] for name in ("study", "dataset", "labels", "compare")))
        runs = read_complete_runs(given["study"], truth.paths)
        priors = read_priors(truth.paths, given["labels"], given["finetune"])
    return compare_runs(runs, question, given["compare"], priors, given["log"]), runs


def clinical_settings() -> Clinical:
    """The clinical settings for the three classes."""
    return Clinical(
        malignant=("mel",),
        severity={"routine": ("bkl", "nv"), "urgent": ("mel",)},
        costs=((0, 1), (10, 0)),
        levels=(0.9,),
        thresholds=(0.1, 0.2, 0.3),
        answered=0.8,
        miss=0.1,
        ages=(40, 60),
        least_groups=20,
        deployment=None,
    )


def fabricate(truth: Truth, folder: Path) -> None:
    """Every file that compare reads, under `folder`."""
    rng = np.random.default_rng(truth.seed)
    images = pd.concat([draw_images(truth, split, rng) for split in ("val", "test")], ignore_index=True)
    write_train(folder, truth)
    write_facts(folder, truth.paths, images["image_id"], rng)
    write_shares(folder, truth.paths, images["image_id"])
    pool = draw_images(truth, "train", np.random.default_rng([truth.seed, 1]))
    measured = {}
    for arm, protocol, seed in product(truth.right, truth.protocols, truth.seeds):
        run = str(RunId(arm, protocol, seed))
        share = truth.right[arm] + truth.seed_spread * rng.standard_normal()
        table = answer(images, share, truth.classes, rng)
        curve = draw_curve(share, truth.gap[arm] + truth.gap_spread * rng.standard_normal(), truth.epochs)
        val = images[images["split"] == "val"]
        by_image = draw_epochs({"train": matched(pool, val, truth, seed), "val": val}, curve, truth.classes)
        write_epochs(folder, truth.paths, run, by_image)
        measured[run] = measure(table, truth.classes)
        encoder = encoder_sha256(RunId(arm, protocol, seed))
        stated = {"baseline": arm in truth.baselines, ENCODER: encoder, **fingerprints(protocol, seed)}
        write_run(folder, truth.paths, run, table, curve, stated)
    write_json(folder / truth.paths.metrics / "evaluate.json", measured)
    read = {"images": len(images), "known_ids": {"patient_id": 0, "lesion_id": len(images)}}
    write_json(folder / truth.paths.metrics / "ingest.json", {"read": read})


def write_train(folder: Path, truth: Truth) -> None:
    """The train images of the split's table; every class has at least one."""
    counts = [max(1, round(truth.lesions * share)) for share in truth.shares]
    labels = np.repeat(np.array(truth.classes), counts)
    names = [f"train_{place:05d}" for place in range(len(labels))]
    table = pd.DataFrame({"image_id": names, "label": labels, "group": names, "split": "train"})
    (folder / truth.paths.split).parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(folder / truth.paths.split, index=False, lineterminator="\n")


def write_run(
    folder: Path, paths: Paths, run: str, table: pd.DataFrame, curve: pd.DataFrame, stated: dict[str, object]
) -> None:
    """One run's three files."""
    for base in (paths.predictions, paths.curves / "finetune"):
        (folder / base).mkdir(parents=True, exist_ok=True)
    table.to_parquet(folder / paths.predictions / f"{run}.parquet", index=False)
    curve.to_csv(folder / paths.curves / "finetune" / f"{run}.csv", index=False, lineterminator="\n")
    best = int(curve["val/loss"].idxmin())
    rows = curve.drop(columns="epoch").to_dict("records")
    summary = {"first": rows[0], "last": rows[-1], "best": rows[best], "best_epoch": best + 1, "epochs": len(rows)}
    write_json(folder / paths.metrics / "finetune" / f"{run}.json", {**summary, **stated})


def write_facts(folder: Path, paths: Paths, names: pd.Series, rng: np.random.Generator) -> None:
    """What is known of the images besides their classes."""
    sexes, ages = rng.choice(["female", "male"], len(names)), rng.integers(20, 90, len(names))
    accepted = pd.DataFrame({"image_id": names, "sex": sexes, "age": ages})
    facts = pd.DataFrame({"image_id": names, "sharpness": rng.gamma(2.0, 50.0, len(names))})
    for path, table in ((paths.accepted, accepted), (paths.facts, facts)):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        table.to_parquet(folder / path, index=False)


def write_shares(folder: Path, paths: Paths, names: pd.Series) -> None:
    """How much of each picture its lesion fills; none is found in every tenth."""
    shares = np.linspace(0.05, 0.7, len(names))
    shares[::10] = np.nan
    (folder / paths.predictions).mkdir(parents=True, exist_ok=True)
    table = pd.DataFrame({"image_id": names, "lesion_share": shares})
    table.to_csv(folder / paths.predictions / "lesion_share.csv", index=False, lineterminator="\n")


def draw_images(truth: Truth, split: str, rng: np.random.Generator) -> pd.DataFrame:
    """Lesions of one to three images; all images of a lesion are of one class."""
    classes = rng.choice(len(truth.classes), truth.lesions, p=truth.shares)
    classes[: len(truth.classes)] = np.arange(len(truth.classes))
    lesion = np.repeat(np.arange(truth.lesions), rng.integers(1, 4, truth.lesions))
    hard = np.repeat(rng.random(truth.lesions), np.bincount(lesion))  # the images of one lesion are equally hard
    names = [f"{split}_{place:05d}" for place in range(len(lesion))]
    group = [f"{split}_lesion_{number:04d}" for number in lesion]
    label = np.array(truth.classes)[classes[lesion]]
    return pd.DataFrame(
        {"image_id": names, "lesion_id": group, "group": group, "split": split, "label": label, "hard": hard}
    )


def answer(images: pd.DataFrame, share: float, classes: tuple[str, ...], rng: np.random.Generator) -> pd.DataFrame:
    """Right for the easier `share` of images, up to noise; a wrong answer is the next class."""
    labels = pd.Categorical(images["label"], categories=list(classes)).codes.astype(int)
    right = images["hard"].to_numpy() + 0.05 * rng.standard_normal(len(images)) < share
    answers = np.where(right, labels, (labels + 1) % len(classes))
    odds = rng.gamma(1.0, 1.0, (len(images), len(classes)))
    odds[np.arange(len(images)), answers] += odds.sum(1)
    p = odds / odds.sum(1, keepdims=True)  # (N, K), the answer is the likeliest
    return images.drop(columns="hard").assign(**{f"p_{name}": p[:, k] for k, name in enumerate(classes)})


def draw_curve(share: float, gap: float, epochs: int) -> pd.DataFrame:
    """Loss falls and accuracy rises; the gap grows evenly to `gap`."""
    epoch = np.arange(epochs)
    rise = 1 - np.exp(-0.6 * (epoch + 1))
    val_loss, val_accuracy = 1.2 - 0.7 * share * rise, 0.3 + (share - 0.3) * rise
    grown = gap * (epoch + 1) / epochs
    splits = {
        "train": {"loss": val_loss - grown, "accuracy": val_accuracy + grown / 2},
        "val": {"loss": val_loss, "accuracy": val_accuracy},
    }
    curve: dict[str, object] = {"epoch": epoch + 1, "fit/loss": val_loss - grown + 0.1, "learning_rate": 0.001}
    for split, found in splits.items():
        found |= {"balanced_accuracy": found["accuracy"] - 0.05, "macro_auroc": (1 + found["accuracy"]) / 2}
        curve |= {f"{split}/{name}": values for name, values in found.items()}
    for name in splits["val"]:
        difference = splits["val"][name] - splits["train"][name]
        curve[f"gap/{name}"] = difference if name == "loss" else -difference
    return pd.DataFrame(curve)


def matched(pool: pd.DataFrame, val: pd.DataFrame, truth: Truth, seed: int) -> pd.DataFrame:
    """The train images of one seed, with the class counts of val as far as there are as many."""
    train, wanted = (pd.Categorical(each["label"], categories=list(truth.classes)).codes for each in (pool, val))
    return pool.iloc[matched_rows(train, wanted, seed)]


def draw_epochs(splits: dict[str, pd.DataFrame], curve: pd.DataFrame, classes: tuple[str, ...]) -> pd.DataFrame:
    """The results of each image, whose mean loss is that of the curve; the curve gets their accuracies.

    A harder image has a higher loss, in the same proportion in all runs, and is the first to be classified wrongly.
    """
    tables = []
    for split, images in splits.items():
        labels = pd.Categorical(images["label"], categories=list(classes)).codes.astype(int)
        hard = images["hard"].to_numpy()
        factors = (0.5 + hard) / (0.5 + hard).mean()
        losses = np.outer(factors, curve[f"{split}/loss"]).astype(np.float32)  # (N, E)
        right = np.argsort(np.argsort(hard))[:, None] < len(hard) * curve[f"{split}/accuracy"].to_numpy()
        predicted = np.where(right, labels[:, None], (labels[:, None] + 1) % len(classes)).astype(np.int16)
        curve[f"{split}/accuracy"] = right.mean(0)
        curve[f"{split}/balanced_accuracy"] = np.mean([right[labels == k].mean(0) for k in np.unique(labels)], axis=0)
        tables.append(
            images[["image_id", "group", "split", "label"]].assign(loss=list(losses), predicted=list(predicted))
        )
    for name in ("accuracy", "balanced_accuracy"):
        curve[f"gap/{name}"] = curve[f"train/{name}"] - curve[f"val/{name}"]
    return pd.concat(tables, ignore_index=True)


def write_epochs(folder: Path, paths: Paths, run: str, table: pd.DataFrame) -> None:
    """What finetune writes of each image."""
    (folder / paths.epoch_losses).mkdir(parents=True, exist_ok=True)
    table.to_parquet(folder / paths.epoch_losses / f"{run}.parquet", index=False)


def measure(table: pd.DataFrame, classes: tuple[str, ...]) -> dict[str, float]:
    """What evaluate reports of the test images, as far as compare reads it."""
    test = table[table["split"] == "test"]
    labels = pd.Categorical(test["label"], categories=list(classes)).codes.astype(np.int64)
    given = labels, test[[f"p_{name}" for name in classes]].to_numpy()
    return {
        "balanced_accuracy": balanced_accuracy(*given),
        "accuracy": accuracy(*given),
        "ece": expected_calibration_error(*given),
    }


def fingerprints(protocol: str, seed: int) -> dict[str, str]:
    """Equal for all arms of one protocol and seed."""
    return {key: hashlib.sha256(f"{key} {protocol} {seed}".encode()).hexdigest() for key in FINGERPRINTS}


def encoder_sha256(run: RunId) -> str:
    """Of the encoder that a run starts from: those of the arm imagenet are one, others have one for each seed."""
    name = run.arm if run.arm == "imagenet" else run.encoder
    return hashlib.sha256(name.encode()).hexdigest()


def write_json(path: Path, content: object) -> None:
    """Indented, as the stages do."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2))
