"""What is planted is found: damage that hurts one arm, a border that tells the class, and nothing where nothing is."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from components.base.errors import DataError, SettingsError
from components.base.log import SilentLog
from components.robustness import page
from components.robustness.analysis import (
    Answers,
    Damage,
    Measured,
    Robustness,
    RobustnessPlan,
    as_metrics,
    as_record,
    assemble,
    choose,
    counted,
    recalls,
)
from components.robustness.corruptions import corruptions
from components.robustness.occlusion import PICTURES, hide
from components.robustness.page import draw_damage, draw_figures, draw_hidden, render, sentences
from components.statistics.metrics.balanced_accuracy import balanced_accuracy
from components.statistics.resampled import resample
from components.synthetic.dataset import draw_view, plan_lesions
from components.synthetic.lesions import draw_lesion
from flows.robustness import robustness
from flows.settings.analysis import Robustness as Settings
from flows.settings.data import Pack
from tests.unit.comparison.simulated_study import FOLDERS
from tests.unit.flows.test_explain import given, write_study
from tests.unit.training.small_trainings import CLASSES as THREE
from tests.unit.training.small_trainings import SIDE

CLASSES = ("bkl", "mel", "nv")
PLAN = RobustnessPlan(
    study="planted", arms=("vae", "imagenet"), protocols=("frozen",), reference="imagenet", classes=CLASSES,
    kinds=("blur", "noise"), strengths=(1, 3), size=48, border=0.12, min_seeds=3, confidence=0.95, resamples=400,
    seed=0, synthetic=True,
)  # fmt: skip
IMAGES = 240


def said(labels: np.ndarray, skill: float, seed: int) -> np.ndarray:
    """(N, 3) probabilities that know the class to this degree; half of the noise is the images' own."""
    own, common = (np.random.default_rng([7, draw]).normal(size=(len(labels), 3)) for draw in (seed, 99))
    return softmax(skill * np.eye(3)[labels] + 0.5 * own + common, axis=1)


def simulate(losses: dict[str, float], knows: dict[str, float], seeds: int = 4) -> tuple[Measured, list[Answers]]:
    """Arms that lose this much skill a strength under noise and none under blur, and know this much of the border."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(IMAGES // 2), 2)
    labels = np.repeat(rng.integers(0, 3, IMAGES // 2), 2)
    measured = Measured(labels, groups, np.ones(IMAGES, bool), np.arange(IMAGES) % 4 == 0)
    runs = []
    for arm, loss in losses.items():
        for seed in range(seeds):
            skills = {Damage(kind, s): 3 - (loss * s if kind == "noise" else 0) for kind, s in PLAN.damages}
            damaged = {damage: said(labels, skill, seed) for damage, skill in skills.items()}
            hidden = {"without_lesion": said(labels, 0, seed), "border": said(labels, knows[arm], seed + 50)}
            hidden["lesion_alone"] = said(labels, 3, seed)
            runs.append(Answers(arm, "frozen", seed, said(labels, 3, seed), damaged, hidden))
    return measured, runs


@pytest.fixture(scope="module")
def planted() -> Robustness:
    """The VAE loses under noise; ImageNet reads the border."""
    return assemble(*simulate({"vae": 0.8, "imagenet": 0.0}, {"vae": 0.0, "imagenet": 2.0}), PLAN, 300)


def test_columns_are_those_of_the_other_balanced_accuracy() -> None:
    rng = np.random.default_rng(3)
    labels, groups = rng.integers(0, 3, 60), np.repeat(np.arange(30), 2)
    sample = resample(labels, groups, 50, 0.95, rng)
    p = [softmax(rng.normal(size=(60, 3)), axis=1) for _ in range(4)]
    found = recalls(np.stack([each.argmax(1) == labels for each in p]), labels, sample.weights)
    expected = np.stack([balanced_accuracy(labels, each, sample.weights) for each in p])
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    for row, each in zip(found, p, strict=True):
        assert row[0] == pytest.approx(balanced_accuracy_score(labels, each.argmax(1)))


def test_damage_that_hurts_is_found_where_it_was_planted(planted: Robustness) -> None:
    vae, imagenet = planted.sheets
    blur, noise = vae.kinds
    assert vae.worst is noise
    assert noise.versus.sure
    assert noise.drop.low > 0.1
    assert vae.versus.sure
    assert not blur.versus.sure
    assert abs(blur.drop.mean) < 1e-12
    assert imagenet.versus is None
    assert noise.points[1].drop.mean > noise.points[0].drop.mean
    text = " ".join(sentences(planted))
    assert "vae, encoder frozen: damage costs" in text
    assert "vae, encoder frozen loses surely more than imagenet" in text
    assert "By kind surely more under noise." in text
    assert "imagenet, encoder frozen: no loss under damage is sure" in text


def test_a_drop_is_the_paired_difference_of_means(planted: Robustness) -> None:
    measured, runs = simulate({"vae": 0.8, "imagenet": 0.0}, {"vae": 0.0, "imagenet": 2.0})
    clean, damaged = (
        np.mean([balanced_accuracy_score(measured.labels, p.argmax(1)) for p in each])
        for each in ([run.clean for run in runs[:4]], [run.damaged[Damage("noise", 3)] for run in runs[:4]])
    )
    point = planted.sheets[0].kinds[1].points[1]
    assert planted.sheets[0].clean.mean == pytest.approx(clean)
    assert point.accuracy.mean == pytest.approx(damaged)
    assert point.drop.mean == pytest.approx(clean - damaged)
    drops = [point.drop.mean for kind in planted.sheets[0].kinds for point in kind.points]
    assert planted.sheets[0].drop.mean == pytest.approx(np.mean(drops))


def test_a_border_that_tells_the_class_is_a_shortcut_and_only_of_the_arm_that_reads_it(planted: Robustness) -> None:
    vae, imagenet = ({each.picture: each for each in sheet.shortcuts} for sheet in planted.sheets)
    assert imagenet["border"].sure
    assert imagenet["border"].accuracy.interval.low > 1 / 3
    assert not any(each.sure for each in (vae["border"], vae["without_lesion"], imagenet["without_lesion"]))
    assert imagenet["lesion_alone"].accuracy.p is None  # a control is no test
    text = sentences(planted)
    assert "nothing is surely above guessing" in text[2]
    assert "imagenet, encoder frozen is surely above guessing with the lesion hidden" in text[-1]
    assert "the border alone" in text[-1]
    assert "without the lesion" not in text[-1]


def test_the_borders_numbers_are_of_lesions_that_stay_out_of_it(planted: Robustness) -> None:
    measured, runs = simulate({"vae": 0.8, "imagenet": 0.0}, {"vae": 0.0, "imagenet": 2.0})
    rows = ~measured.reaching
    border = planted.sheets[1].shortcuts[1]
    assert (border.picture, border.images) == ("border", int(rows.sum()))
    p = [run.hidden["border"][rows] for run in runs[4:]]
    expected = np.mean([balanced_accuracy_score(measured.labels[rows], each.argmax(1)) for each in p])
    assert border.accuracy.interval.mean == pytest.approx(expected)
    areas = [roc_auc_score(np.eye(3)[measured.labels[rows]], each, average="macro") for each in p]
    assert border.auroc.interval.mean == pytest.approx(np.mean(areas))


def test_few_seeds_claim_nothing() -> None:
    found = assemble(*simulate({"vae": 0.8, "imagenet": 0.0}, {"vae": 0.0, "imagenet": 2.0}, seeds=2), PLAN, 300)
    assert not any(sheet.versus.sure for sheet in found.sheets if sheet.versus)
    assert not any(each.sure for sheet in found.sheets for each in sheet.shortcuts)
    text = " ".join(sentences(found))
    assert "surely" not in text
    assert "is not decided: 2 of 3 seeds" in text


def test_a_class_of_few_lesions_is_left_out_where_the_lesion_is_hidden() -> None:
    labels, groups = np.array([0] * 8 + [1] * 8 + [2] * 8), np.array([*range(8), *range(8, 16), *[20] * 8])
    rows, classes = counted(np.ones(24, bool), Measured(labels, groups, np.ones(24, bool), np.zeros(24, bool)))
    assert classes == (0, 1)
    assert rows.sum() == 16


def test_whole_lesions_are_chosen_and_rare_classes_first() -> None:
    rng = np.random.default_rng(5)
    of_lesion = rng.choice(3, 200, p=[0.05, 0.15, 0.8])
    groups = np.repeat(np.arange(200), rng.integers(1, 4, 200))
    labels = of_lesion[groups]
    rows = choose(labels, groups, 100, seed=0)
    assert 97 <= len(rows) <= 100
    assert (np.diff(rows) > 0).all()
    chosen = set(groups[rows])
    assert sum(np.isin(groups, list(chosen))) == len(rows)
    assert np.isin(np.flatnonzero(labels == 0), rows).all()
    np.testing.assert_array_equal(rows, choose(labels, groups, 100, seed=0))
    assert not np.array_equal(rows, choose(labels, groups, 100, seed=1))
    np.testing.assert_array_equal(choose(labels, groups, None, seed=0), np.arange(len(labels)))


def test_fewer_images_than_any_lesion_has_are_refused() -> None:
    labels, groups = np.array([0, 0, 0, 1, 1]), np.array(["a", "a", "a", "b", "b"])
    with pytest.raises(SettingsError, match=r"robustness.images \(params.yaml\) is 1, .*expected at least 2, or null"):
        choose(labels, groups, 1, seed=0)
    np.testing.assert_array_equal(choose(labels, groups, 2, seed=0), [3, 4])


def test_runs_without_a_partner_or_a_picture_are_refused() -> None:
    measured, runs = simulate({"vae": 0.8, "imagenet": 0.0}, {"vae": 0.0, "imagenet": 2.0})
    with pytest.raises(DataError, match=r"imagenet-frozen has seeds \[0, 1, 2\], expected \[0, 1, 2, 3\]"):
        assemble(measured, runs[:-1], PLAN, 300)
    lacking = replace(runs[0], damaged={})
    with pytest.raises(DataError, match=r"vae-frozen-0 lacks answers to Damage\(kind='blur', strength=1\)"):
        assemble(measured, [lacking, *runs[1:]], PLAN, 300)


def test_the_record_is_json_and_the_same_twice(planted: Robustness) -> None:
    again = assemble(*simulate({"vae": 0.8, "imagenet": 0.0}, {"vae": 0.0, "imagenet": 2.0}), PLAN, 300)
    assert json.dumps(as_record(planted), allow_nan=False) == json.dumps(as_record(again), allow_nan=False)
    found = as_metrics(planted)
    assert {"vae-frozen/mean_drop", "imagenet-frozen/border", "vae-frozen/drop_noise"} <= set(found)
    assert np.isfinite(list(found.values())).all()


# --- the whole way, with pictures: what is planted in drawings


def phantoms(confounding: float, lesions: int = 170) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Drawings that are one of CLASSES, whose classes show nothing of themselves: only confounders may tell them."""
    images, labels, groups = [], [], []
    for place, lesion in enumerate(plan_lesions(2 * lesions, 0, 1, seed=5)):
        if lesion.drawn_class not in CLASSES:
            continue
        picture, _ = draw_view(lesion, draw_lesion(lesion, 48, 1.0, seed=5), 0, 48, confounding, seed=5)
        images.append(picture[:, 8:56])
        labels.append(CLASSES.index(lesion.drawn_class))
        groups.append(place)
    return np.stack(images), np.array(labels), np.array(groups)


def looks(images: np.ndarray) -> np.ndarray:
    """(N, F) what a plain model sees: brightness at rim and corners, and how rough rim and picture are."""
    grey = images.mean(axis=3) / 255
    rough = np.abs(np.diff(grey, axis=2))
    parts = [grey[:, :8], grey[:, -8:], grey[:, :8, :8], grey[:, -8:, -8:], rough[:, :8], rough[:, -8:], rough]
    return np.stack([each.mean(axis=(1, 2)) for each in parts] + [each.std(axis=(1, 2)) for each in parts], axis=1)


def learn_and_hide(confounding: float) -> Robustness:
    """A regression on half of the drawings, asked about the other half with the lesion hidden."""
    images, labels, groups = phantoms(confounding)
    half = len(images) // 2
    centre, scale = looks(images[:half]).mean(0), looks(images[:half]).std(0)
    hidden = hide(images[half:], 0.12)
    runs = []
    for seed in range(3):
        rows = np.random.default_rng(seed).choice(half, half)
        model = LogisticRegression(max_iter=2000, class_weight="balanced")
        model.fit((looks(images[rows]) - centre) / scale, labels[rows])

        def ask(pictures: np.ndarray, model: LogisticRegression = model) -> np.ndarray:
            return model.predict_proba((looks(pictures) - centre) / scale)

        clean = ask(images[half:])
        without = {name: ask(pictures) for name, pictures in hidden.pictures.items()}
        runs.append(Answers("imagenet", "frozen", seed, clean, dict.fromkeys(PLAN.damages, clean), without))
    plan = replace(PLAN, arms=("imagenet",))
    return assemble(Measured(labels[half:], groups[half:], hidden.found, hidden.reaching), runs, plan, half)


def test_confounders_in_drawings_are_found_as_shortcuts_and_none_where_there_are_none() -> None:
    with_them, without = learn_and_hide(1.0).sheets[0].shortcuts, learn_and_hide(0.0).sheets[0].shortcuts
    assert with_them[0].sure
    assert with_them[0].accuracy.interval.low > 0.38  # guessing three classes gives 0.33
    assert not any(each.sure for each in without)


# --- figures and page


def rendered(found: Robustness) -> str:
    image = np.full((48, 48, 3), 120, np.uint8)
    strips = {
        "damage-examples": draw_damage(image, {kind: [image] * 2 for kind in PLAN.kinds}, PLAN.strengths),
        "hidden-examples": draw_hidden([image] * 2, {name: [image] * 2 for name in PICTURES}),
    }
    return render(found, draw_figures(found) | strips)


def test_the_page_shows_every_number_of_its_tables_and_every_figure(planted: Robustness) -> None:
    text = rendered(planted)
    words = re.sub(r"\s+", " ", re.sub(r"<style>.*?</style>|<svg.*?</svg>|<[^>]+>", "", text, flags=re.DOTALL))
    for sheet in planted.sheets:
        versus = [each.versus.interval for each in (sheet, *sheet.kinds) if each.versus]
        shares = [sheet.clean, *(each.accuracy.interval for each in sheet.shortcuts)]
        forms = {
            page.points: [sheet.drop, *(kind.drop for kind in sheet.kinds), *versus],
            page.percent: shares,
            page.number: [each.auroc.interval for each in sheet.shortcuts],
        }
        assert len(versus) == (0 if sheet.arm == "imagenet" else 3)
        for form, intervals in forms.items():
            for interval in intervals:
                assert form(interval.mean) in words
                assert page.interval_range(interval, form) in words
    for name in (*draw_figures(planted), "damage-examples", "hidden-examples"):
        assert text.count(f'aria-label="{name.replace("-", " ")}"') == 1
    assert text.count("<h1>") == 1
    assert "SYNTHETIC" in text
    assert "Not a medical device" in text
    assert "240 test images of 120 lesions or patients, drawn from 300" in words
    assert "nan" not in words.lower().split()
    assert text == rendered(planted)


def test_a_page_without_seeds_or_lesions_enough_still_stands() -> None:
    measured, runs = simulate({"vae": 0.8, "imagenet": 0.0}, {"vae": 0.0, "imagenet": 2.0}, seeds=1)
    blind = replace(measured, found=np.zeros(IMAGES, bool))
    found = assemble(blind, runs, PLAN, IMAGES)
    assert all(each.accuracy is None for sheet in found.sheets for each in sheet.shortcuts)
    assert "too few lesions to say" in " ".join(sentences(found))
    assert "too few lesions" in rendered(found)
    json.dumps(as_record(found), allow_nan=False)


def test_damage_is_drawn_from_clean_upwards(planted: Robustness) -> None:
    axes = draw_figures(planted)["damage-noise-frozen"].axes[0]
    lines = [line for line in axes.lines if line.get_marker() == "o"]
    assert len(lines) == 2
    vae = planted.sheets[0]
    expected = [vae.clean.mean, *(point.accuracy.mean for point in vae.kinds[1].points)]
    np.testing.assert_allclose(lines[0].get_ydata(), expected)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["clean", "1", "3"]


# --- the stage


def test_the_stage_damages_the_test_images_and_tells_what_it_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_study(tmp_path)
    monkeypatch.chdir(tmp_path)
    log = SilentLog()
    common = {name: part for name, part in given(log).items() if name not in ("clinical", "explain")}
    metrics = robustness.work(
        **common,
        pack=Pack(image_size=SIDE, fit="crop"),
        robustness=Settings(strengths=(1, 5), images=20, border=0.12, seed=0),
    )
    record = json.loads((tmp_path / FOLDERS["reports"] / "robustness.json").read_text())
    page = (tmp_path / FOLDERS["reports"] / "robustness.html").read_text()
    assert (record["images"], record["groups"], record["of_images"], record["seeds"]) == (20, 10, 24, 2)
    assert [f"{sheet['arm']}-{sheet['protocol']}" for sheet in record["sheets"]] == ["vae-frozen", "random-frozen"]
    assert {path.name for _, path in log.artifacts} == {"robustness.html", "robustness.json"}
    assert any(line.startswith("20 test images; 4 runs share 2 encoders") for line in log.lines)
    assert "SYNTHETIC" in page and page.count("<h1>") == 1
    for arm in ("vae", "random"):
        assert metrics[f"{arm}-frozen/clean"] == pytest.approx(
            clean_accuracy(tmp_path, arm, record["images"]), abs=1e-6
        )
        assert {f"{arm}-frozen/drop_{kind}" for kind in corruptions()} <= set(metrics)


def clean_accuracy(root: Path, arm: str, most: int) -> float:
    """Mean over seeds of scikit-learn's balanced accuracy, from the stored predictions of the images that count."""
    found = []
    for seed in (0, 1):
        table = pd.read_parquet(root / FOLDERS["predictions"] / f"{arm}-frozen-{seed}.parquet")
        test = table[table["split"] == "test"].reset_index(drop=True)
        labels = test["label"].map(THREE.index).to_numpy()
        rows = choose(labels, test["group"].to_numpy(str), most, seed=0)
        answers = test[[f"p_{name}" for name in THREE]].to_numpy().argmax(1)
        found.append(balanced_accuracy_score(labels[rows], answers[rows]))
    return float(np.mean(found))
