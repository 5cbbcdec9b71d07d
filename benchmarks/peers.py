"""epoch_vs_usual_loop, epoch_vs_scdiag, epoch_vs_genml_kit: an epoch of others' training in epochs of ours, CPU time.

Each trains in a process of its own, in turn, on the same HAM10000 images (one a lesion, 64 px, folders of classes),
with the same net from random weights, batch, learning rate and class weights, on one thread without loader workers.
An epoch is all that the tool does in one: reading, augmentation, steps, measuring val, its checkpoint. `_flips` gives
all of them flips alone to augment with instead of what each has usually, and `memory_vs_` compares the peaks of the
processes. What is also printed: images a second, and the CPU seconds from a cold start (for ours packing included)
to the best val balanced accuracy that all contenders reach.

The peers are no dependencies of ours. PEERS names a folder into which `pip install --target` put them:
scdiag (0.1.0) and genml_kit (0.2.1) with what they need besides. Where one is missing, it is skipped and said so.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Iterable
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.measure import Result, summarise

REPO = Path(__file__).resolve().parent.parent
HAM10000 = REPO.parent / "shared" / "data" / "ham10000"
FOLDER = "PEERS"  # the environment variable
NET, EPOCHS, REPEATS = "efficientnet_lite0", 8, 3
TIMM = {"efficientnet_lite0": "tf_efficientnet_lite0", "convnext_tiny": "convnext_tiny"}  # our names in timm's
SIZE, BATCH, RATE, DECAY, CLIP = 64, 24, 1e-3, 0.05, 1.0
TRAIN, VAL = 48, 12  # images a class; whole batches, because scdiag drops an epoch's rest
CLASSES = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")  # sorted, as every tool numbers its folders
FLIPS = """from torchvision.transforms import v2

def create_train_transform(image_size, **_):
    square = [v2.Resize(image_size), v2.CenterCrop(image_size)]
    return [*square, v2.RandomHorizontalFlip(0.5), v2.RandomVerticalFlip(0.5)]
"""
COMMAND = "PEERS=folder python -m benchmarks peers"

Epochs = list[tuple[float, float | None]]
"""CPU seconds since the process began at each epoch's end, and val's balanced accuracy where it is told."""


def run() -> list[Result]:
    if not (HAM10000 / "HAM10000_metadata.csv").is_file():
        print("peers: skipped, ../shared/data/ham10000 is not here")
        return []
    with tempfile.TemporaryDirectory() as folder:
        arrange(Path(folder))
        usual = race(Path(folder), NET, EPOCHS, REPEATS, flips=False)
        flips = race(Path(folder), NET, EPOCHS, REPEATS, flips=True)
    return [*compare(usual, ""), *compare(flips, "_flips")]


def arrange(folder: Path) -> None:
    """Copies as images/{train,test}/CLASS/ID.jpg; no lesion is in both."""
    table = pd.read_csv(HAM10000 / "HAM10000_metadata.csv").drop_duplicates("lesion_id")
    for diagnosis, rows in table.groupby("dx"):
        for place, name in enumerate(rows["image_id"].iloc[: TRAIN + VAL]):
            target = folder / "images" / ("train" if place < TRAIN else "test") / str(diagnosis)
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy(next((HAM10000 / "images").rglob(f"{name}.jpg")), target)
    (folder / "flips.py").write_text(FLIPS)


def race(folder: Path, net: str, epochs: int, repeats: int, *, flips: bool) -> dict[str, list[dict[str, Any]]]:
    """What each contender tells of itself, one entry a repeat; A B C D A B C D ..."""
    told: dict[str, list[dict[str, Any]]] = {name: [] for name in CONTENDERS if installed(name)}
    for repeat in range(repeats):
        for name in list(told):
            try:
                told[name].append(alone(name, folder, net, epochs, repeat, flips=flips))
            except subprocess.CalledProcessError as error:
                if name not in PEERS:
                    raise RuntimeError(f"{name} failed: {error.stderr}") from error
                print(f"  {name}: skipped, its training failed: {error.stderr.strip().splitlines()[-1]}")
                del told[name]
    show(told, f"{net}, {'flips' if flips else 'usual augmentation'}")
    return told


def installed(name: str) -> bool:
    if name in ("ours", "usual_loop") or PathFinder.find_spec(name, [os.environ.get(FOLDER, ""), *sys.path]):
        return True
    print(f"  {name}: skipped, it is neither installed nor in the folder that {FOLDER} names")
    return False


def alone(name: str, folder: Path, net: str, epochs: int, seed: int, *, flips: bool) -> dict[str, Any]:
    """Train in a fresh process, on one thread and without the network."""
    paths = [str(REPO)] + ([os.environ[FOLDER]] if FOLDER in os.environ and name in PEERS else [])
    still = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory(dir=folder) as work:
        command = [sys.executable, "-m", "benchmarks.peers", name, str(folder), net, str(epochs), str(seed)]
        done = subprocess.run(
            [*command, *(["flips"] if flips else [])],
            cwd=work,
            env={**os.environ, **still, "PYTHONPATH": os.pathsep.join(paths)},
            capture_output=True,
            text=True,
            check=True,
        )
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def compare(told: dict[str, list[dict[str, Any]]], suffix: str) -> list[Result]:
    """Ratios of epochs and of memory, repeat by repeat."""
    ours, results = told["ours"], []
    for name, theirs in told.items():
        if name != "ours":
            pairs = list(zip(ours, theirs, strict=True))
            epochs = [epoch_seconds(that) / epoch_seconds(this) for this, that in pairs]
            memory = [that["megabytes"] / this["megabytes"] for this, that in pairs]
            results.append(summarise(f"epoch_vs_{name}{suffix}", epochs, "none", "x", COMMAND))
            results.append(summarise(f"memory_vs_{name}{suffix}", memory, "none", "x", COMMAND))
    return results


def epoch_seconds(told: dict[str, Any]) -> float:
    """The middle epoch's; the first, which warms up, has no beginning and does not count."""
    return float(np.median(np.diff([seconds for seconds, _ in told["epochs"]])))


def show(told: dict[str, list[dict[str, Any]]], what: str) -> None:
    """The figures behind the ratios, and the time to a balanced accuracy that all which tell one reach."""
    tops = [max(accuracies(one)) for runs in told.values() for one in runs if accuracies(one)]
    goal = min(tops)
    for name, runs in told.items():
        figures = {
            "img/s": len(CLASSES) * TRAIN / middle(epoch_seconds(one) for one in runs),
            "s an epoch": middle(epoch_seconds(one) for one in runs),
            "s in all": middle(one["seconds"] for one in runs),
            "MB at most": middle(one["megabytes"] for one in runs),
        }
        if accuracies(runs[0]):
            figures[f"s to balanced accuracy {goal:.3f}"] = middle(first_time(one, goal) for one in runs)
            figures["balanced accuracy at best"] = middle(max(accuracies(one)) for one in runs)
        print(f"  {what}, {name}: " + ", ".join(f"{value:.4g} {unit}" for unit, value in figures.items()))


def middle(values: Iterable[float]) -> float:
    return statistics.median(values)


def first_time(told: dict[str, Any], goal: float) -> float:
    return float(next(seconds for seconds, accuracy in told["epochs"] if accuracy >= goal))


def accuracies(told: dict[str, Any]) -> list[float]:
    return [value for _, value in told["epochs"] if value is not None]


def ours(folder: Path, net: str, epochs: int, seed: int, flips: bool) -> Epochs:
    """Pack the images and fine-tune, resume states included."""
    import torch

    from components.base.log import SilentLog
    from components.models.backbones import convnext_tiny, efficientnet_lite0
    from components.training.conditions import Conditions, Phase
    from components.training.finetuning import finetune_encoder
    from components.training.session import open_session
    from components.training.settings import Augment

    ended: Epochs = []

    class Clock(SilentLog):
        def metrics(self, values: Any, step: int | None = None) -> None:
            super().metrics(values, step)
            if "val/balanced_accuracy" in values:
                ended.append((time.process_time(), values["val/balanced_accuracy"]))

    colour = dict.fromkeys(("scale", "shift", "brightness", "contrast", "hue", "saturation"), 0)
    usual = {"scale": 0.15, "shift": 0.05, "brightness": 0.1, "contrast": 0.1, "hue": 4, "saturation": 10}
    policy = Augment.model_validate({"flips_and_turns": True, **(colour if flips else usual)})
    conditions = Conditions(
        CLASSES, [Phase("full", epochs, RATE)], batch_size=BATCH, weight_decay=DECAY, hidden=256, dropout=0.2,
        imbalance="weights", focal_gamma=2.0, monitor="loss", patience=epochs, clip=CLIP, augment=policy,
    )  # fmt: skip
    backbone = {"efficientnet_lite0": efficientnet_lite0, "convnext_tiny": convnext_tiny}[net].Config()
    train, val = packed(folder, "train"), packed(folder, "test")
    log = Clock()
    session = open_session("cpu", 1, cpu=backbone.cpu, seed=seed, checkpoint=Path("state"), log=log)
    torch.manual_seed(seed)
    finetune_encoder(backbone.build(), train, val, conditions, session, log, {}, "benchmark")
    return ended


def packed(folder: Path, split: str) -> Any:
    """The split's images as the stage `pack` leaves them, made now."""
    from components.data.pixels import read_pixels, square, write_pixels
    from components.training.examples import Examples
    from components.validation.image_facts import decode

    paths = sorted((folder / "images" / split).rglob("*.jpg"))
    names = [path.stem for path in paths]
    columns = {"image_id": names, "label": [path.parent.name for path in paths], "lesion_id": names, "group": names}
    images = (square(decode(path.read_bytes())[1], SIZE, "crop") for path in paths)
    write_pixels(Path(split), images, pd.DataFrame(columns), SIZE)
    pixels = read_pixels(Path(split))
    return Examples(pixels, pixels.labels(CLASSES))


def usual_loop(folder: Path, net: str, epochs: int, seed: int, flips: bool) -> Epochs:
    """As timm's users write it: files by PIL, torchvision's transforms, DataLoader, eager float32, AdamW."""
    import timm
    import torch
    from sklearn.metrics import balanced_accuracy_score
    from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
    from torch.utils.data import DataLoader
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import v2

    torch.manual_seed(seed)
    square = [v2.Resize(SIZE), v2.CenterCrop(SIZE)]
    mirrors = [v2.RandomHorizontalFlip(), v2.RandomVerticalFlip()]
    draws = [*square, *mirrors] if flips else [v2.RandomResizedCrop(SIZE), *mirrors, v2.ColorJitter(0.1, 0.1, 0.1)]
    to_floats = v2.Normalize(IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD)
    tail = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), to_floats]
    train = ImageFolder(folder / "images" / "train", v2.Compose([*draws, *tail]))
    val = ImageFolder(folder / "images" / "test", v2.Compose([*square, *tail]))
    model = timm.create_model(TIMM[net], num_classes=len(CLASSES))
    optimiser = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=DECAY)
    ended: Epochs = []
    for _ in range(epochs):
        model.train()
        for images, labels in DataLoader(train, BATCH, shuffle=True):
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(model(images), labels).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
            optimiser.step()
        model.eval()
        with torch.no_grad():
            said = [(labels, model(images).argmax(dim=1)) for images, labels in DataLoader(val, BATCH)]
        truth, guess = (torch.cat(parts) for parts in zip(*said, strict=True))
        torch.save({"model": model.state_dict(), "optimiser": optimiser.state_dict()}, "last.pt")
        ended.append((time.process_time(), float(balanced_accuracy_score(truth, guess))))
    return ended


def scdiag(folder: Path, net: str, epochs: int, seed: int, flips: bool) -> Epochs:
    """`scdiag-train`; class weights by inverse frequency and clipping at 1 are its defaults."""
    from scdiag import train

    given = options(folder, net, epochs, flips)
    sys.argv = ["scdiag-train", *given, "--model_arg", "pretrained=false", "--seed", str(seed)]
    return listening(train.main)


def genml_kit(folder: Path, net: str, epochs: int, _seed: int, flips: bool) -> Epochs:
    """`genml-kit-train`, with a seed of its own: a given one would make it deterministic and so slower.

    0.2.1 rejects every `--model_arg KEY=VALUE`, so random weights are asked for in Python.
    """
    from genml_kit.training import train

    parse = train.parse_args
    train.parse_args = lambda given: Namespace(**{**vars(parse(given)), "model_arg": {"pretrained": False}})
    return listening(lambda: train.main(options(folder, net, epochs, flips)))


def options(folder: Path, net: str, epochs: int, flips: bool) -> list[str]:
    """What both command lines call alike."""
    values = {
        "model": f"timm:{TIMM[net]}", "dataset": f"imagefolder/{folder / 'images'}", "image_size": SIZE,
        "batch_size": BATCH, "epochs": epochs, "lr": RATE, "weight_decay": DECAY, "num_workers": 0,
        "device": "cpu", "cache_dir": "cache", "checkpoint": "kept/model",
    }  # fmt: skip
    values |= {"train_augmentation_script": folder / "flips.py"} if flips else {}
    return [word for name, value in values.items() for word in (f"--{name}", str(value))]


def listening(work: Callable[[], object]) -> Epochs:
    """Epochs by what the peer logs: a line as each begins, one after the last, and maybe the balanced accuracy."""
    begun: list[float] = []
    found: list[float] = []
    make = logging.getLogRecordFactory()

    def note(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = make(*args, **kwargs)
        text = record.getMessage()
        if text.startswith("=== Epoch") or text == "Checkpoint saved on exit.":
            begun.append(time.process_time())
        found.extend(float(share) / 100 for share in re.findall(r"^Epoch.*\| Balanced Acc: ([\d.]+)%", text))
        return record

    logging.setLogRecordFactory(note)
    work()
    ended = begun[1:]
    return list(zip(ended, found or [None] * len(ended), strict=True))


PEERS = {"scdiag": scdiag, "genml_kit": genml_kit}
CONTENDERS = {"ours": ours, "usual_loop": usual_loop, **PEERS}


def main(name: str, folder: str, net: str, epochs: str, seed: str, *flips: str) -> None:
    import torch

    torch.set_num_threads(1)
    ended = CONTENDERS[name](Path(folder), net, int(epochs), int(seed), bool(flips))
    print(json.dumps({"epochs": ended, "seconds": time.process_time(), "megabytes": peak_megabytes()}))


def peak_megabytes() -> float:
    """Of this process alone; `ru_maxrss` would begin at the peak of the one that started it."""
    (kilobytes,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return float(kilobytes) / 1e3


if __name__ == "__main__":
    main(*sys.argv[1:])
