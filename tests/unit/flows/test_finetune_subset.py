"""The stages finetune_subset and label_efficiency: a part of the train lesions, all else as finetune has it."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from ruamel.yaml import YAML

from components.base.errors import DataError, SettingsError
from components.base.log import SilentLog
from components.data.pixels import read_pixels
from components.models.weights_file import load_encoder, read_tensors, save_encoder
from components.statistics.runs import FINGERPRINTS
from flows.evaluate import evaluate
from flows.finetune import finetune
from flows.finetune_subset import finetune_subset, lengthen
from flows.label_efficiency import label_efficiency
from flows.settings import Settings, load_settings, parse_settings
from flows.stage import Stage
from tests.unit.flows.small_study import build, write_split

ARMS, SHARES, SEEDS = ("vae", "random"), (0.25, 0.5), (0, 1)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 train lesions of three classes, two arms, settings that ask for two shares."""
    folder = build(tmp_path_factory.mktemp("study"), count=48, frozen={"epochs": 2, "learning_rate": 0.01}, patience=2)
    yaml = YAML(typ="safe")
    values = yaml.load((folder / "params.yaml").read_text())
    values["study"] |= {"protocols": ["frozen"], "seeds": list(SEEDS)}
    values["label_efficiency"] |= {"protocols": ["frozen"], "shares": list(SHARES), "seeds": list(SEEDS)}
    values["compare"] |= {"resamples": 100}
    with (folder / "params.yaml").open("w") as file:
        yaml.dump(values, file)
    return folder


@pytest.fixture(scope="module")
def settings(root: Path) -> Settings:
    read = load_settings(root / "params.yaml")
    paths = {name: root / path for name, path in read.paths}
    backbone = read.backbone
    for split in ("val", "test"):
        write_split(paths["pixels"] / split, 12)
    for seed, arm in enumerate(ARMS):
        for draw in SEEDS:
            torch.manual_seed(10 * seed + draw)
            save_encoder(paths["encoders"] / f"{arm}-{draw}.safetensors", backbone.build(), backbone, {"arm": arm})
    return read.model_copy(update={"paths": read.paths.model_copy(update=paths)})


def work(stage: Stage, settings: Settings, log: SilentLog | None = None, **varying: object) -> dict:
    sections = {name: getattr(settings, name) for name in stage.sections}
    return dict(stage.work(**sections, **varying, log=log or SilentLog()))


def learned(settings: Settings, arm: str = "vae", share: float = 0.25, seed: int = 0, **given: object) -> dict:
    return work(finetune_subset, settings, arm=arm, protocol="frozen", seed=seed, share=share, **given)


@pytest.fixture(scope="module")
def study(settings: Settings) -> Settings:
    """All trainings, as DVC would have them run, with their metrics files."""
    for arm in ARMS:
        for seed in SEEDS:
            found = work(finetune, settings, arm=arm, protocol="frozen", seed=seed)
            _keep(settings, "finetune", f"{arm}-frozen-{seed}", found)
            for share in SHARES:
                _keep(settings, "finetune_subset", f"{arm}-frozen-{seed}-{share}", learned(settings, arm, share, seed))
    work(evaluate, settings)
    return settings


def _keep(settings: Settings, stage: str, name: str, found: dict) -> None:
    path = settings.paths.metrics / stage / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found))


def _summary(settings: Settings, name: str, stage: str = "finetune_subset") -> dict:
    return json.loads((settings.paths.metrics / stage / f"{name}.json").read_text())


def test_arms_learn_from_the_same_part_and_seeds_from_others(study: Settings) -> None:
    prints = list(FINGERPRINTS)
    for seed in SEEDS:
        for share in SHARES:
            mine, other = (_summary(study, f"{arm}-frozen-{seed}-{share}") for arm in ARMS)
            assert [mine[key] for key in prints] == [other[key] for key in prints]
    hashes = {_summary(study, f"vae-frozen-{seed}-{share}")["train_index_sha256"] for seed in SEEDS for share in SHARES}
    assert len(hashes) == 4


def test_sizes_are_written_down(study: Settings) -> None:
    for share, lesions in zip(SHARES, (12, 24), strict=True):
        found = _summary(study, f"vae-frozen-0-{share}")
        assert (found["lesions"], found["all_lesions"], found["images"]) == (lesions, 48, lesions)


def test_a_part_takes_as_many_steps_as_the_whole(study: Settings) -> None:
    """48 images make 6 steps of 8 an epoch, 12 make 2: three times as many epochs."""
    found, whole = _summary(study, "vae-frozen-0-0.25"), _summary(study, "vae-frozen-0", "finetune")
    assert whole["epochs"] == 2 and found["epochs"] == 6
    curve = pd.read_csv(study.paths.curves / "finetune_subset" / "vae-frozen-0-0.25.csv")
    assert list(curve["epoch"]) == [1, 2, 3, 4, 5, 6] and not found.keys() ^ {
        *whole,
        "lesions",
        "all_lesions",
        "images",
    }


def test_with_a_budget_of_epochs_a_part_takes_fewer_steps(study: Settings, tmp_path: Path) -> None:
    paths = study.paths.model_copy(update={"partial": tmp_path, "curves": tmp_path, "checkpoints": tmp_path / "on"})
    changed = study.label_efficiency.model_copy(update={"budget": "epochs"})
    found = learned(study.model_copy(update={"label_efficiency": changed, "paths": paths}))
    assert found["epochs"] == 2
    assert found["train_index_sha256"] == _summary(study, "vae-frozen-0-0.25")["train_index_sha256"]


def test_schedules_and_patience_are_lengthened_by_the_same_factor(settings: Settings) -> None:
    longer = lengthen(settings.finetune, steps=7, fewer=3)
    for mine, theirs in [
        (longer.frozen, settings.finetune.frozen),
        (longer.full, settings.finetune.full),
        (longer.lpft.head, settings.finetune.lpft.head),
        (longer.lpft.full, settings.finetune.lpft.full),
    ]:
        assert mine.epochs == math.ceil(theirs.epochs * 7 / 3) and mine.learning_rate == theirs.learning_rate
    assert longer.patience == math.ceil(settings.finetune.patience * 7 / 3)
    assert lengthen(settings.finetune, steps=6, fewer=6) == settings.finetune


def test_a_point_is_the_same_each_time_and_goes_on_after_a_kill(
    study: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = study.paths.partial / "vae-frozen-0-0.25.safetensors"
    before = file.read_bytes()

    def stop(_self, items, _total, what):
        for number, item in enumerate(items):
            if "epoch 3" in what and number == 1:
                raise KeyError("killed")
            yield item

    monkeypatch.setattr(SilentLog, "track", stop)
    with pytest.raises(KeyError, match="killed"):
        learned(study)
    monkeypatch.undo()
    log = SilentLog()
    assert learned(study, log=log) == _summary(study, "vae-frozen-0-0.25")
    assert any("continuing after epoch" in line for line in log.lines)
    assert any(line.startswith("12 lesions with 12 images: 25 %") for line in log.lines)
    assert file.read_bytes() == before


def test_the_encoder_is_the_arms_and_nothing_else_is_touched(study: Settings) -> None:
    weights = read_tensors(study.paths.partial / "random-frozen-1-0.5.safetensors")
    encoder = load_encoder(study.paths.encoders / "random-1.safetensors", study.backbone).state_dict()
    assert all(torch.equal(weights[f"encoder.{name}"], value) for name, value in encoder.items())
    assert len(list(study.paths.classifiers.iterdir())) == 4 and len(list(study.paths.partial.iterdir())) == 8


def test_the_page_and_record_are_of_test_images(study: Settings) -> None:
    log = SilentLog()
    values = work(label_efficiency, study, log, protocol="frozen")
    record = json.loads((study.paths.reports / "label_efficiency" / "frozen.json").read_text())
    measured = work(evaluate, study)
    own = np.mean([measured[f"vae-frozen-{seed}"]["balanced_accuracy"] for seed in SEEDS])
    assert values["vae/1/balanced_accuracy"] == pytest.approx(own, abs=1e-6)
    assert [point["lesions"] for point in record["points"]] == [12, 24, 48] * 2
    assert record["test_lesions"] == len(read_pixels(study.paths.pixels / "test"))
    assert set(record["fingerprints"]) == {f"frozen-{seed}{of}" for seed in SEEDS for of in ("", "-0.25", "-0.5")}
    page = (study.paths.reports / "label_efficiency" / "frozen.html").read_text()
    assert "2 seeds, compare.min_seeds requires 3" in page and "2 seeds, compare.min_seeds requires 3" in "".join(
        log.lines
    )


def test_a_missing_training_is_named(study: Settings, tmp_path: Path) -> None:
    moved = study.paths.model_copy(update={"predictions": tmp_path})
    with pytest.raises(
        DataError, match=r"vae-frozen-0.parquet is missing, expected for every run of study.*dvc repro evaluate"
    ):
        work(label_efficiency, study.model_copy(update={"paths": moved}), protocol="frozen")
    moved = study.paths.model_copy(update={"metrics": tmp_path})
    with pytest.raises(DataError, match=r"vae-frozen-0-0.25.json: cannot be read"):
        work(label_efficiency, study.model_copy(update={"paths": moved}), protocol="frozen")


def test_dvcs_name_of_a_point_is_the_stages(root: Path, monkeypatch: pytest.MonkeyPatch, repo: Path) -> None:
    """DVC writes the share as Python does, in name, command and outs; without a protocol there is no point."""
    from dvc.repo import Repo

    monkeypatch.chdir(root)
    (root / "dvc.yaml").write_text((repo / "dvc.yaml").read_text())
    Repo.init(no_scm=True, force=True).close()
    assert _stages("finetune_subset@vae-frozen-0-0.25") == ["python -m flows.finetune_subset vae frozen 0 0.25"]
    with Repo() as dvc:
        (point,) = dvc.stage.collect("finetune_subset@vae-frozen-0-0.25")
        assert "data/partial/vae-frozen-0-0.25.safetensors" in {str(out) for out in point.outs}
        names = {stage.addressing for stage in dvc.index.stages}
    assert sum(name.startswith("finetune_subset@") for name in names) == 8 and "label_efficiency@frozen" in names
    text = (root / "params.yaml").read_text()
    (root / "params.yaml").write_text((repo / "params.yaml").read_text())
    with Repo() as dvc:
        names = {str(stage.addressing) for stage in dvc.index.stages}
    (root / "params.yaml").write_text(text)
    assert not any(name.startswith(("finetune_subset", "label_efficiency")) for name in names) and "compare" in names


def _stages(name: str) -> list[str]:
    from dvc.repo import Repo

    with Repo() as dvc:
        return [str(stage.cmd) for stage in dvc.stage.collect(name)]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shares": [0.5, 0.25]}, r"label_efficiency.shares.*expected rising values, each once"),
        ({"shares": [0.5, 1.0]}, r"label_efficiency.shares.*less than 1"),
        ({"shares": [0.5, 0.5]}, r"label_efficiency.shares.*expected rising values, each once"),
        ({"shares": []}, r"label_efficiency.shares is empty, .*, since label_efficiency.protocols is \['frozen'\]"),
        ({"seeds": []}, r"label_efficiency.seeds is empty, .*, since label_efficiency.protocols is \['frozen'\]"),
        ({"seeds": [0, 7]}, r"label_efficiency.seeds is \[0, 7\], expected only values of study.seeds \[0, 1, 2\]"),
        (
            {"protocols": ["full"]},
            r"label_efficiency.protocols is \['full'\], expected only values of study.protocols \['frozen'\]",
        ),
        ({"budget": "hours"}, r"label_efficiency.budget = 'hours': .*'steps'"),
    ],
)
def test_what_cannot_be_asked_is_refused(repo: Path, changes: dict, message: str) -> None:
    values = YAML(typ="safe").load((repo / "params.yaml").read_text())
    values["label_efficiency"] |= {"protocols": ["frozen"]} | changes
    with pytest.raises(SettingsError, match=message):
        parse_settings(values, "params.yaml")


def test_where_nothing_is_asked_seeds_may_be_any(repo: Path) -> None:
    values = YAML(typ="safe").load((repo / "params.yaml").read_text())
    values["study"]["seeds"] = [5]
    assert not parse_settings(values, "params.yaml").label_efficiency.protocols


def test_a_share_that_is_not_asked_is_refused(settings: Settings) -> None:
    with pytest.raises(SettingsError, match=r"share 0.75 is none of label_efficiency.shares \[0.25, 0.5\]"):
        learned(settings, share=0.75)
