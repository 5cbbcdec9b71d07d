"""epoch_vs_usual_loop, epoch_vs_scdiag, epoch_vs_genml_kit: CPU time of an epoch of other tools, divided by ours.

Each trains in its own process, in turn, on the same HAM10000 images (one per lesion, 64 px, a folder per class), with
the same network from random weights, batch size, learning rate and class weights, on one thread without loader
workers. An epoch is everything that the tool does in one: reading, augmentation, steps, evaluation on val, its
checkpoint. With `_flips` all tools augment by flips only, otherwise each as it does by default; `memory_vs_` compares
the peak memory of the processes. Also printed: images per second, and the CPU seconds from a cold start (for ours
including packing) to the best val balanced accuracy that all tools reach.

The other tools are not dependencies of this project. PEERS names a folder into which `pip install --target` put them:
scdiag (0.1.0) and genml_kit (0.2.1) with their dependencies. A tool that is missing is skipped with a printed line.
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
SIZE, BATCH, RATE, DECAY, CLIP = 64, 24, 1e-3, 0.05, 1.0  # the weight decay is also that of benchmarks/trainings.py
TRAIN, VAL = 48, 12  # images a class; whole batches, because scdiag drops an epoch's rest
CLASSES = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")  # sorted, as every tool numbers its folders
FLIPS = """from torchvision.transforms import v2

def create_train_transform(image_size, **_):
    square = [v2.Resize(image_size), v2.CenterCrop(image_size)]
    return [*square, v2.RandomHorizontalFlip(0.5), v2.RandomVerticalFlip(0.5)]
"""
COMMAND = "PEERS=folder python -m benchmarks peers"

Epochs = list[tuple[float, float | None]]
"""CPU seconds from the start of the process to the end of each epoch, and val's balanced accuracy where logged."""


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
    """Copy images to images/{train,test}/CLASS/ID.jpg; no lesion is in both."""
    table = pd.read_csv(HAM10000 / "HAM10000_metadata.csv").drop_duplicates("lesion_id")
    for diagnosis, rows in table.groupby("dx"):
        for place, name in enumerate(rows["image_id"].iloc[: TRAIN + VAL]):
            target = folder / "images" / ("train" if place < TRAIN else "test") / str(diagnosis)
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy(next((HAM10000 / "images").rglob(f"{name}.jpg")), target)
    (folder / "flips.py").write_text(FLIPS)


def race(folder: Path, net: str, epochs: int, repeats: int, *, flips: bool) -> dict[str, list[dict[str, Any]]]:
    """The measurements of each tool, one entry per repeat, in turn: A B C D A B C D ..."""
    measured: dict[str, list[dict[str, Any]]] = {name: [] for name in CONTENDERS if installed(name)}
    for repeat in range(repeats):
        for name in list(measured):
            try:
                measured[name].append(alone(name, folder, net, epochs, repeat, flips=flips))
            except subprocess.CalledProcessError as error:
                if name not in PEERS:
                    raise RuntimeError(f"{name} failed: {error.stderr}") from error
                print(f"  {name}: skipped, its training failed: {error.stderr.strip().splitlines()[-1]}")
                del measured[name]
    show(measured, f"{net}, {'flips' if flips else 'usual augmentation'}")
    return measured


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
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return measured


def compare(measured: dict[str, list[dict[str, Any]]], suffix: str) -> list[Result]:
    """Ratios of epochs and of memory, repeat by repeat."""
    ours, results = measured["ours"], []
    for name, theirs in measured.items():
        if name != "ours":
            pairs = list(zip(ours, theirs, strict=True))
            epochs = [epoch_seconds(that) / epoch_seconds(this) for this, that in pairs]
            memory = [that["megabytes"] / this["megabytes"] for this, that in pairs]
            results.append(summarise(f"epoch_vs_{name}{suffix}", epochs, "none", "x", COMMAND))
            results.append(summarise(f"memory_vs_{name}{suffix}", memory, "none", "x", COMMAND))
    return results


def epoch_seconds(measured: dict[str, Any]) -> float:
    """The median over epochs without the first, whose start is not known and which warms up."""
    return float(np.median(np.diff([seconds for seconds, _ in measured["epochs"]])))


def show(measured: dict[str, list[dict[str, Any]]], what: str) -> None:
    """Print the values behind the ratios, and the time to a balanced accuracy that all tools which log one reach."""
    tops = [max(accuracies(one)) for runs in measured.values() for one in runs if accuracies(one)]
    goal = min(tops)
    for name, runs in measured.items():
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


def first_time(measured: dict[str, Any], goal: float) -> float:
    return float(next(seconds for seconds, accuracy in measured["epochs"] if accuracy >= goal))


def accuracies(measured: dict[str, Any]) -> list[float]:
    return [value for _, value in measured["epochs"] if value is not None]


def ours(folder: Path, net: str, epochs: int, seed: int, flips: bool) -> Epochs:
    """Pack the images and fine-tune, with resume states."""
    import torch

    from benchmarks.trainings import AUGMENT, FLIPS_AND_TURNS, build_conditions, open_cpu_session
    from components.base.log import SilentLog
    from components.models.backbones import convnext_tiny, efficientnet_lite0
    from components.training.conditions import Phase
    from components.training.finetuning import finetune_encoder
    from components.training.settings import Schedule

    ended: Epochs = []

    class Clock(SilentLog):
        def metrics(self, values: Any, step: int | None = None) -> None:
            super().metrics(values, step)
            if "val/balanced_accuracy" in values:
                ended.append((time.process_time(), values["val/balanced_accuracy"]))

    phase = Phase("all", Schedule(epochs=epochs, learning_rate=RATE))
    conditions = build_conditions(phase, batch_size=BATCH, augment=FLIPS_AND_TURNS if flips else AUGMENT, clip=CLIP)
    backbone = {"efficientnet_lite0": efficientnet_lite0, "convnext_tiny": convnext_tiny}[net].Config()
    train, val = packed(folder, "train"), packed(folder, "test")
    log = Clock()
    session = open_cpu_session(backbone.cpu, seed=seed, checkpoint=Path("state"), log=log)
    torch.manual_seed(seed)
    finetune_encoder(
        backbone.build(),
        train=train,
        val=val,
        conditions=conditions,
        session=session,
        log=log,
        settings={},
        what="benchmark",
    )
    return ended


def packed(folder: Path, split: str) -> Any:
    """The images of a split, packed as by the stage `pack`."""
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
    """A common loop with timm: files by PIL, torchvision's transforms, DataLoader, eager float32, AdamW."""
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
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=DECAY)
    ended: Epochs = []
    for _ in range(epochs):
        model.train()
        for images, labels in DataLoader(train, BATCH, shuffle=True):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(images), labels).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
            optimizer.step()
        model.eval()
        with torch.no_grad():
            answers = [(labels, model(images).argmax(dim=1)) for images, labels in DataLoader(val, BATCH)]
        truth, guess = (torch.cat(parts) for parts in zip(*answers, strict=True))
        torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, "last.pt")
        ended.append((time.process_time(), float(balanced_accuracy_score(truth, guess))))
    return ended


def scdiag(folder: Path, net: str, epochs: int, seed: int, flips: bool) -> Epochs:
    """`scdiag-train`; class weights by inverse frequency and clipping at 1 are its defaults."""
    from scdiag import train

    given = options(folder, net, epochs, flips)
    sys.argv = ["scdiag-train", *given, "--model_arg", "pretrained=false", "--seed", str(seed)]
    return epochs_from_log(train.main)


def genml_kit(folder: Path, net: str, epochs: int, _seed: int, flips: bool) -> Epochs:
    """`genml-kit-train`, with its default seed: a given seed would make it deterministic and so slower.

    Version 0.2.1 rejects every `--model_arg KEY=VALUE`, so random weights are set in Python.
    """
    from genml_kit.training import train

    parse = train.parse_args
    train.parse_args = lambda given: Namespace(**{**vars(parse(given)), "model_arg": {"pretrained": False}})
    return epochs_from_log(lambda: train.main(options(folder, net, epochs, flips)))


def options(folder: Path, net: str, epochs: int, flips: bool) -> list[str]:
    """The options that both command lines have."""
    values = {
        "model": f"timm:{TIMM[net]}", "dataset": f"imagefolder/{folder / 'images'}", "image_size": SIZE,
        "batch_size": BATCH, "epochs": epochs, "lr": RATE, "weight_decay": DECAY, "num_workers": 0,
        "device": "cpu", "cache_dir": "cache", "checkpoint": "kept/model",
    }  # fmt: skip
    values |= {"train_augmentation_script": folder / "flips.py"} if flips else {}
    return [word for name, value in values.items() for word in (f"--{name}", str(value))]


def epochs_from_log(work: Callable[[], object]) -> Epochs:
    """Epochs from a tool's log: a line at the start of each, one after the last, for some the balanced accuracy."""
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
    """Of this process only; `ru_maxrss` would start at the peak of the process that started it."""
    (kilobytes,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return float(kilobytes) / 1e3


if __name__ == "__main__":
    main(*sys.argv[1:])
