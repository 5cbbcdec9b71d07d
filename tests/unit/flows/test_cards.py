"""Model card and data sheet: every number is the run's, nothing that must not be told is, and what is unsaid shows."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import typing
from contextlib import chdir
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from huggingface_hub import ModelCard
from safetensors.numpy import save_file

from components.base.config import kinds
from components.base.errors import DataError
from components.base.log import SilentLog
from components.cards import data_sheet, licences
from components.cards import page as cards_module
from components.data.adapters.folder import Config as Folder
from components.data.adapters.ham10000 import Config as Ham10000
from components.training.augment import Augment
from flows import settings as sections
from flows.cards import cards
from flows.compare import compare
from flows.settings import analysis
from tests.unit.comparison.simulated_study import Truth, fabricate, settings, write_json

TRUTH = Truth(right={"vae": 0.6, "imagenet": 0.8}, gap={"vae": 0.0, "imagenet": 0.06}, lesions=150)
CLASSES = TRUTH.classes
UNSAID = dict.fromkeys(cards_module.STATED)
PAGES = ("model_card.md", "model_card.html", "data_sheet.md", "data_sheet.html")


def _measured(run: str) -> dict[str, object]:
    """What evaluate says of one run; shares that no other run has."""
    rng = np.random.default_rng(sum(map(ord, run)))
    shares = {name: float(rng.random()) for name in ("balanced_accuracy", "accuracy", "macro_auroc", "ece", "log_loss")}
    by_class = {key: {name: float(rng.random()) for name in CLASSES} for key in ("sensitivity", "specificity")}
    return {**shares, **by_class}


def _images() -> pd.DataFrame:
    """The accepted images of all splits: the predictions' and as many to train on."""
    table = pd.read_parquet("predictions/vae-frozen-0.parquet")[["image_id", "lesion_id", "group", "split", "label"]]
    train = table.assign(split="train", **{key: "train_" + table[key] for key in ("image_id", "lesion_id", "group")})
    return pd.concat([table, train], ignore_index=True)


def _write_tables(images: pd.DataFrame) -> None:
    rng = np.random.default_rng(1)
    known = images[["image_id", "label", "lesion_id"]].assign(
        patient_id=None, sex=rng.choice(["female", "male"], len(images)), age=rng.integers(20, 90, len(images)) + 0.0,
        site=np.where(np.arange(len(images)) < 6, "next to Anna Muster's tattoo", "posterior torso"), path="a/b.jpg",
        source=np.where(np.arange(len(images)) < 6, "palm | sole <b>", "clinic"),
        skin_type=pd.array([pd.NA] * len(images), "Int64"),
    )  # fmt: skip
    known.to_parquet("accepted", index=False)
    images[["image_id", "label", "group", "split"]].to_csv("split", index=False)


def _write_metrics(images: pd.DataFrame) -> None:
    """What the stages before finetune say, counted from the table."""
    by_split = {name: images[images["split"] == name] for name in ("train", "val", "test", "unlabelled", "withheld")}
    of_class = {name: int((images["label"] == name).sum()) for name in CLASSES}
    counts = {
        name: {label: int((part["label"] == label).sum()) for label in CLASSES} for name, part in by_split.items()
    }
    write_json(Path("metrics/ingest.json"), {
        "images": len(images) + 3, "labelled": len(images), "unlabelled": 0, "outside": 1, "patients": 0,
        "lesions": images["lesion_id"].nunique(),
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


def _write_weights() -> None:
    """Files of weights with their headers, and a few numbers inside."""
    backbone = {"kind": "efficientnet_lite0"}
    ways = {"vae": {"kind": "vae", "seed": 0, "epochs": 6}, "imagenet": {"kind": "imagenet", "source": "package"}}
    for folder in ("encoders", "classifiers"):
        Path(folder).mkdir()
    for arm, how in ways.items():
        header = {"arm": arm, "backbone": backbone, "settings": how}
        tensors = {"trunk.weight": np.ones((2, 3), np.float32)}
        save_file(tensors, f"encoders/{arm}.safetensors", {"dermflow": json.dumps(header)})
        write_json(Path(f"metrics/pretrain/{arm}.json"), {"images": 321, "epochs": 1})
        for run in (f"{arm}-{protocol}-{seed}" for protocol in TRUTH.protocols for seed in TRUTH.seeds):
            header = {"run": run, "classes": CLASSES, "backbone": backbone, "head": {"hidden": 16, "dropout": 0.2}}
            more = tensors | {"head.bias": np.ones(5, np.float32), "bn.running_mean": np.ones(7, np.float32)}
            save_file(more, f"classifiers/{run}.safetensors", {"dermflow": json.dumps(header)})


def _given(repo: Path, **changes: object) -> dict[str, object]:
    """The stage's arguments: the repository's settings, and the fabricated study's."""
    params = sections.load_settings(repo / "params.yaml")
    known = settings(TRUTH)
    study = {name: known[name] for name in ("study", "dataset", "labels", "clinical", "paths")}
    others = {name: getattr(params, name) for name in ("privacy", "split", "pack", "augment", "finetune")}
    assert isinstance(others["augment"], Augment)
    return {**study, **others, "cards": analysis.Cards(**UNSAID), "log": SilentLog(), **changes}


def _prepare(**compared: object) -> None:
    """Everything that the stage reads, in this folder."""
    fabricate(TRUTH, Path())
    compare.work(**{**settings(TRUTH, resamples=100), **compared})
    measured = json.loads(Path("metrics/evaluate.json").read_text())
    write_json(Path("metrics/evaluate.json"), {run: _measured(run) for run in measured})
    images = _images()
    _write_tables(images)
    _write_metrics(images)
    _write_weights()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, repo: Path) -> Path:
    """A study that never ran, with its cards."""
    place = tmp_path_factory.mktemp("cards")
    with chdir(place):
        _prepare()
        Path("pyproject.toml").write_text('[project]\nversion = "9.8.7"\n')
        cards.work(**_given(repo))
    return place


def _text(folder: Path, name: str) -> str:
    return (folder / "reports" / name).read_text()


def _json(folder: Path, name: str) -> dict:
    return json.loads((folder / name).read_text())


def _table(text: str, title: str) -> list[list[str]]:
    """The cells of the first table below a heading, Markdown's backslashes taken away."""
    part = re.split(r"\n##", text.partition(f"# {title}\n")[2])[0]
    rows = [line for line in part.splitlines() if line.startswith("|")][2:]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]
    assert cells, title
    return [[re.sub(r"\\(.)", r"\1", cell) for cell in row] for row in cells]


def _numbers(cell: str) -> list[float]:
    return [float(word) for word in re.findall(r"[-+]?\d+(?:\.\d+)?", cell.replace("\N{MINUS SIGN}", "-"))]


def _ends(found: dict, unit: float = 100) -> list[float]:
    return [pytest.approx(unit * found[end], abs=0.051 if unit == 100 else 0.00051) for end in ("mean", "low", "high")]


def _chosen(folder: Path) -> tuple[str, dict, dict]:
    """The run, its arm's row and sheet."""
    comparison, clinical = (_json(folder, f"reports/{name}.json") for name in ("comparison", "clinical"))
    name = comparison["recommendation"]["chosen"]
    row, sheet = (
        next(each for each in found if f"{each['arm']}-{each['protocol']}" == name)
        for found in (comparison["rows"], clinical["sheets"])
    )
    return comparison["recommendation"]["run"], row, sheet


def test_the_overall_numbers_are_those_of_the_run(folder: Path) -> None:
    run, row, _ = _chosen(folder)
    table = _table(_text(folder, "model_card.md"), "Overall")
    names = ("balanced_accuracy", "macro_auroc", "accuracy", "log_loss", "ece")
    for name, (_, own, mean) in zip(names, table, strict=True):
        unit = 1 if name in ("macro_auroc", "log_loss") else 100
        assert _numbers(own) == [pytest.approx(unit * _measured(run)[name], abs=0.06 * unit / 100)]
        assert _numbers(mean) == _ends(row["test"][name], unit)


def test_each_class_has_its_own_numbers_and_how_many_lesions_stand_behind_them(folder: Path) -> None:
    run, row, _ = _chosen(folder)
    comparison, measured = _json(folder, "reports/comparison.json"), _measured(run)
    for name, cells in zip(CLASSES, _table(_text(folder, "model_card.md"), "By class"), strict=True):
        assert cells[0].removesuffix(" †") == name
        assert _numbers(cells[1]) + _numbers(cells[2]) == [
            comparison["test_images"][name],
            comparison["test_lesions"][name],
        ]
        assert _numbers(cells[3]) == _ends(row["test"][f"sensitivity.{name}"])
        assert _numbers(cells[4]) == [pytest.approx(100 * measured["sensitivity"][name], abs=0.051)]
        assert _numbers(cells[5]) == [pytest.approx(100 * measured["specificity"][name], abs=0.051)]


def test_thresholds_and_temperature_are_those_of_this_run_and_not_of_another_seed(folder: Path) -> None:
    run, _, sheet = _chosen(folder)
    place = list(TRUTH.seeds).index(int(run.rpartition("-")[2]))
    points = [point for each in sheet["operating"] for point in each["points"]]
    rows = _table(_text(folder, "model_card.md"), "Operating points")
    for point, cells in zip(points, rows, strict=True):
        assert _numbers(cells[2]) == [pytest.approx(point["thresholds"][place], abs=0.00051)]
        for name, cell in zip(("sensitivity", "specificity", "ppv", "npv"), cells[3:], strict=True):
            assert _numbers(cell) == _ends(point["test"][name])
    temperatures = sheet["calibration"]["temperatures"]
    assert len(set(temperatures)) == len(temperatures)
    assert f"**Temperature of this run: {temperatures[place]:.3f}.**" in _text(folder, "model_card.md")


def test_calibration_is_told_before_and_after_the_temperature(folder: Path) -> None:
    _, _, sheet = _chosen(folder)
    rows = _table(_text(folder, "model_card.md"), "Calibration")
    for column, found in ((1, sheet["calibration"]["before"]), (2, sheet["calibration"]["after"])):
        assert _numbers(rows[0][column]) == _ends(found["log_loss"], 1)
        assert _numbers(rows[1][column]) == _ends(found["brier"], 1)
        assert _numbers(rows[2][column]) == _ends(found["errors"]["debiased"])


def test_subgroups_are_those_of_the_clinical_section(folder: Path) -> None:
    _, _, sheet = _chosen(folder)
    shown = [each for each in sheet["subgroups"]["subgroups"] if each["groups"] >= 20]
    rows = _table(_text(folder, "model_card.md"), "Subgroups")
    assert len(shown) >= 4
    assert any(each["differences"] for each in shown)
    for each, cells in zip(shown, rows, strict=True):
        assert cells[0] == f"{each['attribute']}: {each['value']}"
        assert _numbers(cells[1]) + _numbers(cells[2]) == [each["images"], each["groups"]]
        for name, cell in zip(("balanced_accuracy", "sensitivity", "specificity"), cells[3:], strict=False):
            known = name in each["differences"]
            assert known or cell == "too few lesions"
            if known:
                assert _numbers(cell) == [*_ends(each["values"][name]), *_ends(each["differences"][name])]


def test_a_subgroup_of_few_lesions_shows_no_number(tmp_path: Path, repo: Path) -> None:
    clinical = settings(TRUTH)["clinical"].model_copy(update={"least_groups": 80})
    with chdir(tmp_path):
        _prepare(clinical=clinical)
        Path("pyproject.toml").write_text('[project]\nversion = "9.8.7"\n')
        cards.work(**_given(repo, clinical=clinical))
        found = _chosen(Path())[2]["subgroups"]["subgroups"]
        text = Path("reports/model_card.md").read_text()
    few = [each for each in found if each["groups"] is None]
    assert all(each["groups"] >= 80 for each in found if each not in few)
    assert few and len(few) < len(found)
    part = text.partition("### Subgroups")[2].partition("\n## ")[0]
    told = part.partition("Fewer than 80 lesions, and so without any number: ")[2]
    for each in few:
        assert f"| {each['attribute']}: {each['value']} |" not in part
        assert f"{each['attribute']}: {each['value']}" in told


def test_where_malignancy_and_subgroups_are_not_known_the_card_says_so(tmp_path: Path, repo: Path) -> None:
    clinical = settings(TRUTH)["clinical"].model_copy(update={"malignant": None, "severity": None, "costs": None})
    with chdir(tmp_path):
        _prepare(clinical=clinical)
        found = json.loads(Path("reports/clinical.json").read_text())
        for sheet in found["sheets"]:
            sheet["subgroups"] = None
        write_json(Path("reports/clinical.json"), found)
        Path("pyproject.toml").write_text('[project]\nversion = "9.8.7"\n')
        cards.work(**_given(repo, clinical=clinical))
        text = Path("reports/model_card.md").read_text()
    assert "Not known: no class is named as malignant (`clinical.malignant`)." in text
    assert text.count("Nothing is known of the test images by which subgroups could be compared.") == 2
    assert _table(text, "Calibration")


def test_the_same_run_gives_the_same_bytes(folder: Path, repo: Path) -> None:
    before = {name: _text(folder, name) for name in PAGES}
    with chdir(folder):
        cards.work(**_given(repo))
    assert {name: _text(folder, name) for name in PAGES} == before


def test_hugging_face_reads_the_front_matter(folder: Path) -> None:
    run, _, _ = _chosen(folder)
    card = ModelCard(_text(folder, "model_card.md"), ignore_metadata_errors=False)
    assert (card.data.license, card.data.datasets, card.data.model_name) == ("unknown", ["ham10000"], run)
    assert {"dermatology", "imagenet", "not-a-medical-device"} <= set(card.data.tags)
    values = {result.metric_type: result.metric_value for result in card.data.eval_results}
    assert values["balanced_accuracy"] == pytest.approx(_measured(run)["balanced_accuracy"], abs=1e-6)
    assert values["roc_auc"] == pytest.approx(_measured(run)["macro_auroc"], abs=1e-6)
    assert card.text.strip().startswith(f"# Model card: {run}")


def test_the_model_is_named_by_the_hash_and_the_parameters_of_its_file(folder: Path) -> None:
    run, _, _ = _chosen(folder)
    details = dict(_table(_text(folder, "model_card.md"), "Model details"))
    digest = hashlib.sha256((folder / "classifiers" / f"{run}.safetensors").read_bytes()).hexdigest()
    assert details["Weights, sha256"] == f"`{digest}`"
    assert details["Parameters"] == "11"  # the running mean was not learned
    assert "Dermflow 9.8.7" in details["Made with"]


def test_the_cards_limits_are_the_reports(folder: Path) -> None:
    limits = _json(folder, "reports/comparison.json")["limits"]
    text = re.sub(r"\\(.)", r"\1", _text(folder, "model_card.md"))
    assert len(limits) >= 4
    assert all(f"- {limit}\n" in text for limit in limits)
    page = unescape((folder / "reports" / "index.html").read_text())
    assert all(limit in page for limit in limits)


def test_data_under_a_non_commercial_licence_limit_the_use_of_the_weights(folder: Path) -> None:
    sentence = "Weights trained on HAM10000 (CC BY-NC 4.0): not for commercial use without the owners' leave."
    for name in PAGES:
        lead = _text(folder, name).partition("Composition" if "data" in name else "Model details")[0]
        assert sentence in lead, name
    assert "ask the owners before any commercial use" in _text(folder, "model_card.md")  # of ImageNet's weights


def test_every_adapter_and_every_source_of_weights_has_its_terms() -> None:
    assert set(licences.DATASETS) == set(kinds("data.adapters"))
    found = set()
    for name, config in kinds("pretraining").items():
        source = config.model_fields.get("source")
        found |= {f"{name}/{word}" for word in typing.get_args(source.annotation)} if source else {name}
    assert set(licences.WEIGHTS) == found


def test_an_unlisted_kind_is_not_known() -> None:
    assert licences.of_data("new").terms == "not known: ask the owners"
    assert licences.of_weights({"kind": "dino"}).terms == "not known: ask the owners"
    assert licences.of_weights({"kind": "vae", "seed": 0}) is None


def test_images_of_ones_own_have_the_licence_that_their_owner_states(tmp_path: Path, folder: Path, repo: Path) -> None:
    own = Folder(path=tmp_path)
    with chdir(folder):
        kept = {name: _text(folder, name) for name in PAGES}
        said = analysis.Cards(**UNSAID | {"data_licence": "only within the hospital", "consent": "general consent"})
        cards.work(**_given(repo, dataset=own, cards=said))
        found = {name: _text(folder, name) for name in PAGES}
        for name, text in kept.items():
            (folder / "reports" / name).write_text(text)
    for name in PAGES:
        assert "only within the hospital" in found[name]
        assert "general consent" in found[name]


def test_what_a_person_did_not_say_is_shown_as_not_stated(folder: Path) -> None:
    for name in ("model_card.md", "data_sheet.md"):
        assert dict(_table(_text(folder, name), "What a person must fill in")) == dict.fromkeys(
            cards_module.STATED.values(), "**not stated**"
        )
        assert "Not stated by its owner: owner, contact, intended use" in _text(folder, name)


def test_the_last_line_lists_what_is_unsaid_and_ends_where_all_is_said(folder: Path, repo: Path) -> None:
    said = analysis.Cards(**dict.fromkeys(UNSAID, "said"))
    logs = [SilentLog(), SilentLog()]
    with chdir(folder):
        kept = {name: _text(folder, name) for name in PAGES}
        cards.work(**_given(repo, cards=said, log=logs[0]))
        cards.work(**_given(repo, log=logs[1]))
    assert logs[0].lines[-1] == "Look at reports/model_card.html"
    assert re.search(r"model_card.html; not stated yet \(cards, params.yaml\): owner, contact, ", logs[1].lines[-1])
    assert {name: _text(folder, name) for name in PAGES} == kept


def test_the_data_sheet_counts_as_the_gate_and_the_split_did(folder: Path) -> None:
    text, images = _text(folder, "data_sheet.md"), pd.read_csv(folder / "split")
    counts = {what: count.replace(",", "") for what, count in _table(text, "Composition")}
    seen = _json(folder, "metrics/validation.json")
    assert counts["Images read"] == str(seen["rows"])
    assert counts["Patients that are named"] == "not known"
    assert counts["Near-copies of each other: groups of them"] == "6"
    assert dict(_table(text, "Kept out")) == {"`image.corrupt`": "2", "`diagnosis.outside_map`": "1"}
    assert dict(_table(text, "What is missing")) == {"age": "1.2", "sex": "0.0", "site": "25.0", "skin type": "100.0"}
    for name, cells in zip(CLASSES, _table(text, "By class"), strict=True):
        own = images[images["label"] == name]
        parts = [int((own["split"] == split).sum()) for split in ("train", "val", "test")]
        assert [int(cell.replace(",", "")) for cell in cells[2:]] == [len(own), own["group"].nunique(), *parts]
    for name, _, count, groups in _table(text, "Splits, and how leaks are refused"):
        part = images[images["split"] == name]
        assert (int(count.replace(",", "")), int(groups)) == (len(part), part["group"].nunique())


def test_people_of_whom_there_are_few_are_not_counted() -> None:
    values = {"torso": 30, "head/neck": 25, "lower extremity": 40, "palms/soles": 3}
    images = pd.DataFrame(
        {
            "site": [name for name, count in values.items() for _ in range(count)] + [None] * 2,
            "sex": "female", "age": np.nan, "skin_type": pd.NA, "source": "x",
        }
    ).assign(group=lambda table: table.index)  # fmt: skip
    rows = {value: images for name, value, images, _ in data_sheet.composition(images, (40,), 20) if name == "site"}
    told = {"torso": "30", "lower extremity": "40", "unknown": "2"}
    assert rows == told | {"head/neck": "too few", "palms/soles": "too few"}  # the first's total would tell the last
    assert "age" not in {name for name, *_ in data_sheet.composition(images, (40,), 20)}


def test_body_sites_in_words_of_ones_own_are_other() -> None:
    sites = ["torso"] * 30 + ["back"] * 30 + ["scar of Anna Muster"] * 24 + ["left of it"]
    images = pd.DataFrame({"site": sites, "sex": None, "age": np.nan, "skin_type": pd.NA, "source": None})
    rows = data_sheet.composition(images.assign(group=images.index), (40,), 20)
    assert rows == [("site", "back", "30", "30"), ("site", "other", "25", "25"), ("site", "torso", "30", "30")]


def test_the_cards_name_no_image_no_lesion_and_no_path(folder: Path) -> None:
    images = pd.read_parquet(folder / "accepted")
    for name in PAGES:
        text = _text(folder, name)
        assert not any(word in text for word in (*images["image_id"], *images["lesion_id"], "a/b.jpg", str(folder)))
        assert "Muster" not in text
        assert not re.search(r"[a-z]\.[A-Z]", text)  # two sentences run together
        assert not re.search(r"/tmp|/home|/work|20\d\d-\d\d-\d\d|\d\d:\d\d:\d\d", text)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in {"meta", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


@pytest.mark.parametrize("name", ["model_card", "data_sheet"])
def test_the_page_says_what_the_card_says_and_asks_nothing_of_the_net(folder: Path, name: str) -> None:
    reader, text = _Reader(), _text(folder, f"{name}.html")
    reader.feed(text)
    assert reader.open == []
    tags = [tag for tag, _ in reader.tags]
    assert tags.count("h1") == 1
    title = re.search("<title>(.+)</title>", text)
    assert title and f"<h1>{title[1]}</h1>" in text
    assert not {"script", "img", "link", "a", "iframe"} & set(tags)
    assert "http" not in text
    card = cards_module.without_front_matter(_text(folder, f"{name}.md"))
    plain = re.sub(r"\\(.)", r"\1", re.sub(r"\n[|>-]+ ?|[|*`#]|-{3,}", " ", card))
    missing = set(plain.split()) - set(reader.words.split())
    assert not {word for word in missing if re.search(r"\w", word)}
    cells = [given for tag, given in reader.tags if tag == "td"]
    assert cells and all(given["data-name"] for given in cells)  # for narrow screens
    assert "Not a medical device." in reader.words


def test_words_from_outside_write_no_markup(folder: Path, repo: Path) -> None:
    said = UNSAID | {"notes": "a | b\n\n# c <script>alert(1)</script> [d](http://e) `f` *g*"}
    with chdir(folder):
        kept = {name: _text(folder, name) for name in PAGES}
        cards.work(**_given(repo, cards=analysis.Cards(**said)))
        found = {name: _text(folder, name) for name in PAGES}
        for name, text in kept.items():
            (folder / "reports" / name).write_text(text)
    for name in ("model_card", "data_sheet"):
        stated = dict(_table(found[f"{name}.md"], "What a person must fill in"))
        assert stated["Notes"] == "a | b # c <script>alert(1)</script> [d](http://e) `f` *g*"
        assert "<script" not in found[f"{name}.html"]
        assert "href" not in found[f"{name}.html"]
        assert "&lt;script&gt;alert(1)" in found[f"{name}.html"]
    assert "palm | sole <b>" in [row[1] for row in _table(found["data_sheet.md"], "Who and where")]


def test_a_run_that_was_not_evaluated_is_named(folder: Path, repo: Path) -> None:
    with chdir(folder):
        file = Path("metrics/evaluate.json")
        kept = file.read_text()
        write_json(file, {"vae-frozen-0": {}})
        with pytest.raises(DataError, match=r"evaluate.json lacks imagenet-\w+-\d, which compare chose; dvc repro"):
            cards.work(**_given(repo))
        file.write_text(kept)


def test_a_file_that_holds_no_weights_is_named(folder: Path, repo: Path) -> None:
    run, _, _ = _chosen(folder)
    file = folder / "classifiers" / f"{run}.safetensors"
    kept = file.read_bytes()
    with chdir(folder):
        file.write_bytes(b"not weights at all")
        with pytest.raises(DataError, match=rf"classifiers/{run}.safetensors: is no file of Dermflow's weights"):
            cards.work(**_given(repo))
        save_file({"a": np.ones(1, np.float32)}, file)  # no header of ours
        with pytest.raises(DataError, match=r"is no file of Dermflow's weights \('dermflow'\); dvc repro makes it"):
            cards.work(**_given(repo))
        save_file({"a": np.ones(1, np.float32)}, file, {"dermflow": "{broken"})
        with pytest.raises(DataError, match=r"is no file of Dermflow's weights \(Expecting property name .*dvc repro"):
            cards.work(**_given(repo))
    file.write_bytes(kept)


def test_a_missing_file_of_a_stage_is_named(tmp_path: Path, repo: Path) -> None:
    with chdir(tmp_path), pytest.raises(DataError, match=r"reports/comparison.json: cannot be read .*dvc repro"):
        cards.work(**_given(repo, dataset=Ham10000(path=tmp_path)))


def test_the_cards_need_no_torch(repo: Path) -> None:
    code = "import sys, flows.cards; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=repo, check=False).returncode == 0
