"""A study that never ran, with everything that the stage cards reads, and readers of the cards that it writes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save_file

from components.base.log import SilentLog
from components.cards.page import STATED
from components.cards.settings import CardSettings
from components.models.published import LICENCES
from components.training.settings import Augment
from flows.compare import compare
from flows.settings import load_settings
from tests.unit.comparison.simulated_study import Truth, fabricate, settings, write_json

TRUTH = Truth(right={"vae": 0.6, "imagenet": 0.8}, gap={"vae": 0.0, "imagenet": 0.06}, lesions=150)
CLASSES = TRUTH.classes
UNSTATED = dict.fromkeys(STATED)
PAGES = ("model_card.md", "model_card.html", "data_sheet.md", "data_sheet.html")


def measured_by(run: str) -> dict[str, object]:
    """What evaluate says of one run; shares that no other run has."""
    rng = np.random.default_rng(sum(map(ord, run)))
    shares = {name: float(rng.random()) for name in ("balanced_accuracy", "accuracy", "macro_auroc", "ece", "log_loss")}
    by_class = {key: {name: float(rng.random()) for name in CLASSES} for key in ("sensitivity", "specificity")}
    return {**shares, **by_class}


def draw_table() -> pd.DataFrame:
    """The accepted images of all splits: the predictions' and as many to train on."""
    table = pd.read_parquet("predictions/vae-frozen-0.parquet")[["image_id", "lesion_id", "group", "split", "label"]]
    train = table.assign(split="train", **{key: "train_" + table[key] for key in ("image_id", "lesion_id", "group")})
    return pd.concat([table, train], ignore_index=True)


def write_tables(images: pd.DataFrame) -> None:
    rng = np.random.default_rng(1)
    known = images[["image_id", "label", "lesion_id"]].assign(
        patient_id=None, sex=rng.choice(["female", "male"], len(images)), age=rng.integers(20, 90, len(images)) + 0.0,
        site=np.where(np.arange(len(images)) < 6, "next to Anna Muster's tattoo", "posterior torso"), path="a/b.jpg",
        source=np.where(np.arange(len(images)) < 6, "palm | sole <b>", "clinic"),
        skin_type=pd.array([pd.NA] * len(images), "Int64"),
    )  # fmt: skip
    known.to_parquet("accepted", index=False)
    images[["image_id", "label", "group", "split"]].to_csv("split", index=False)


def write_metrics(images: pd.DataFrame, read: Mapping[str, object]) -> None:
    """What the stages before finetune say, counted from the table."""
    by_split = {name: images[images["split"] == name] for name in ("train", "val", "test", "unlabelled", "withheld")}
    of_class = {name: int((images["label"] == name).sum()) for name in CLASSES}
    counts = {
        name: {label: int((part["label"] == label).sum()) for label in CLASSES} for name, part in by_split.items()
    }
    write_json(Path("metrics/ingest.json"), {
        "images": len(images) + 3, "labelled": len(images), "unlabelled": 0, "outside": 1, "patients": 0,
        "lesions": images["lesion_id"].nunique(),
        "read": read,
    })  # fmt: skip
    write_json(Path("metrics/validation.json"), {
        "rows": len(images) + 3, "accepted": len(images), "quarantined": 3, "accepted_by_hand": {},
        "quarantined_by_rule": {"image.corrupt": 2, "diagnosis.outside_map": 1}, "orphans": 4,
        "exact_duplicate_groups": 5, "near_duplicate_groups": 6, "pairs_to_review": 7, "classes": of_class,
        "files_that_could_identify": {"any": 8},
        "profile": {
            "missing": {"age": 0.0125, "sex": 0.0, "site": 0.25, "skin_type": 1.0},
            "quantiles": {"side": {"q05": 100.0, "q50": 450.0, "q95": 600.0}},
        },
        "expectations": {"images": {"success": True}},
    })  # fmt: skip
    write_json(Path("metrics/split.json"), {
        "images": {name: len(part) for name, part in by_split.items()},
        "groups": {name: part["group"].nunique() for name, part in by_split.items()},
        "classes": {name: counts[name] for name in ("train", "val", "test")},
    })  # fmt: skip
    packed = {name: {"images": len(by_split[name])} for name in ("train", "val", "test", "unlabelled")}
    write_json(Path("metrics/pack.json"), {"image_size": 48, **packed})


def write_weights() -> None:
    """Files of weights with their headers, and a few numbers inside."""
    backbone = {"kind": "efficientnet_lite0"}
    ways = {"vae": {"kind": "vae", "epochs": 6}, "imagenet": {"kind": "imagenet", "source": "package"}}
    for folder in ("encoders", "classifiers"):
        Path(folder).mkdir()
    for arm, how in ways.items():
        tensors = {"trunk.weight": np.ones((2, 3), np.float32)}
        origin = {"trained": arm == "vae", "licence": None if arm == "vae" else asdict(LICENCES["package"])}
        for seed in TRUTH.seeds:
            header = {"arm": arm, "seed": seed, "backbone": backbone, "settings": how}
            save_file(tensors, f"encoders/{arm}-{seed}.safetensors", {"dermflow": json.dumps(header)})
            write_json(Path(f"metrics/pretrain/{arm}-{seed}.json"), {"images": 321, "epochs": 1, **origin})
        for run in (f"{arm}-{protocol}-{seed}" for protocol in TRUTH.protocols for seed in TRUTH.seeds):
            header = {
                "run": run,
                "classes": CLASSES,
                "backbone": backbone,
                "features": "last_map",
                "head": {"hidden": 16, "dropout": 0.2},
            }
            more = tensors | {"head.bias": np.ones(5, np.float32), "bn.running_mean": np.ones(7, np.float32)}
            save_file(more, f"classifiers/{run}.safetensors", {"dermflow": json.dumps(header)})


def arguments(repo: Path, **changes: object) -> dict[str, object]:
    """The stage's arguments: the repository's settings, and the fabricated study's."""
    params = load_settings(repo / "params.yaml")
    known = settings(TRUTH)
    study = {name: known[name] for name in ("study", "dataset", "labels", "clinical", "paths")}
    others = {name: getattr(params, name) for name in ("privacy", "split", "pack", "augment", "finetune")}
    assert isinstance(others["augment"], Augment)
    return {**study, **others, "cards": CardSettings(**UNSTATED), "external": (), "log": SilentLog(), **changes}


def prepare(known_lesions: int = 600, **compared: object) -> None:
    """Everything that the stage reads, in this folder; of 600 images that were read, so many have a lesion id."""
    fabricate(TRUTH, Path())
    read = {"images": 600, "known_ids": {"patient_id": 0, "lesion_id": known_lesions}}
    write_json(Path("metrics/ingest.json"), {"read": read})
    compare.work(**{**settings(TRUTH, resamples=100), **compared})
    measured = json.loads(Path("metrics/evaluate.json").read_text())
    write_json(Path("metrics/evaluate.json"), {run: measured_by(run) for run in measured})
    images = draw_table()
    write_tables(images)
    write_metrics(images, read)
    write_weights()
    Path("pyproject.toml").write_text('[project]\nversion = "9.8.7"\n')


def read_text(folder: Path, name: str) -> str:
    return (folder / "reports" / name).read_text()


def load_json(folder: Path, name: str) -> dict:
    return json.loads((folder / name).read_text())


def table_below(text: str, title: str) -> list[list[str]]:
    """The cells of the first table below a heading, Markdown's backslashes taken away."""
    part = re.split(r"\n##", text.partition(f"# {title}\n")[2])[0]
    rows = [line for line in part.splitlines() if line.startswith("|")][2:]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]
    assert cells, title
    return [[re.sub(r"\\(.)", r"\1", cell) for cell in row] for row in cells]


def numbers_in(cell: str) -> list[float]:
    return [float(word) for word in re.findall(r"[-+]?\d+(?:\.\d+)?", cell.replace("\N{MINUS SIGN}", "-"))]


def ends_of(found: dict, unit: float = 100) -> list[float]:
    return [pytest.approx(unit * found[end], abs=0.051 if unit == 100 else 0.00051) for end in ("mean", "low", "high")]


def chosen_of(folder: Path) -> tuple[str, dict, dict]:
    """The run, its arm's row and sheet."""
    comparison, clinical = (load_json(folder, f"reports/{name}.json") for name in ("comparison", "clinical"))
    name = comparison["recommendation"]["chosen"]
    row, sheet = (
        next(each for each in found if f"{each['arm']}-{each['protocol']}" == name)
        for found in (comparison["rows"], clinical["sheets"])
    )
    return comparison["recommendation"]["run"], row, sheet
