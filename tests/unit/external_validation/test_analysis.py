"""External test sets: drops against closed forms, scikit-learn, naive loops and planted truth, and the stage itself."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy import stats
from sklearn.metrics import recall_score

from benchmarks import external_validation as simulation
from benchmarks.evidence import World
from components.base.errors import DataError, SettingsError
from components.base.log import SilentLog
from components.base.run_id import FinetuneProtocol, RunId
from components.clinical import calibration, operating_points
from components.data.labels import Labels
from components.data.records import write_records
from components.external_validation import figure
from components.external_validation.analysis import (
    apart,
    as_metrics,
    as_record,
    assess,
    calibration_errors,
    strata_apart,
)
from components.external_validation.label_map import LEAST, LabelMap, check_labels
from components.external_validation.page import draw_figures, render
from components.external_validation.results import EXTERNAL, Transfer, TransferPlan
from components.statistics import bootstrap, intervals
from components.statistics.bootstrap import Design, Sample, lay_out
from components.statistics.intervals import Interval, estimate
from components.statistics.rule import Rule
from components.statistics.runs import Run, same_images
from components.statistics.significance import holm
from components.statistics.weighting import unit_weights
from flows.settings import load_settings, parse_settings, read_yaml
from flows.settings.data import Cohort
from tests.unit.clinical.simulation import CLASSES, MALIGNANT, common_noise, draw_lesions, say
from tests.unit.flows.small_study import CLASSES as THREE
from tests.unit.flows.small_study import SIDE, build, write_split

# --- two sets, the same models


def _mean(values: np.ndarray, design: Design) -> Sample:
    """The mean of one value a lesion."""
    return design.split(values @ design.columns / design.columns.sum(0))


def _design(labels: np.ndarray, resamples: int, seed: int) -> Design:
    return lay_out(np.arange(len(labels)), labels, resamples, np.random.default_rng(seed))


def test_the_drop_of_accuracy_has_the_variance_of_two_independent_proportions() -> None:
    rng = np.random.default_rng(0)
    here, there = np.repeat([0, 1], [120, 60]), np.repeat([0, 1], [40, 90])
    right = [(rng.random(len(labels)) < 0.8 - 0.2 * labels).astype(float) for labels in (here, there)]
    designs = [_design(here, 20_000, 0), _design(there, 20_000, 1)]
    samples = [_mean(*each) for each in zip(right, designs, strict=True)]
    found = estimate([apart(samples[1], samples[0])], strata_apart(designs[1], designs[0]))
    parts = [
        (np.sum(labels == k) / len(labels)) ** 2 * values[labels == k].var(ddof=1) / np.sum(labels == k)
        for labels, values in zip((here, there), right, strict=True)
        for k in (0, 1)
    ]  # p (1 - p) / (n - 1) of each class on each side, by its share squared
    assert found.mean == right[1].mean() - right[0].mean()
    assert found.sources.by_lesions == pytest.approx(np.sqrt(sum(parts)), rel=0.02)
    welch = sum(parts) ** 2 / sum(part**2 / (n - 1) for part, n in zip(parts, (120, 60, 40, 90), strict=True))
    assert found.sources.lesions == pytest.approx(welch, rel=0.02)


def test_the_drop_of_one_model_has_welchs_interval() -> None:
    rng = np.random.default_rng(1)
    values = [rng.normal(size=60), 2 * rng.normal(size=25)]
    designs = [_design(np.zeros(len(each), int), 10_000, seed) for seed, each in enumerate(values)]
    here, there = (_mean(*each) for each in zip(values, designs, strict=True))
    found = estimate([apart(there, here)], strata_apart(designs[1], designs[0])).interval(0.95)
    expected = stats.ttest_ind(values[1], values[0], equal_var=False).confidence_interval(0.95)
    reach = expected.high - expected.low
    assert [found.low, found.high] == pytest.approx([expected.low, expected.high], abs=0.04 * reach)


def test_influences_add_over_both_sets() -> None:
    rng = np.random.default_rng(2)
    designs = [_design(np.repeat([0, 1], counts), 50, seed) for seed, counts in enumerate([(12, 9), (7, 20)])]
    here, there = (_mean(rng.normal(size=len(design.strata)), design) for design in designs)
    pulls = intervals.influences(apart(there, here).omitted, strata_apart(designs[1], designs[0]))
    own = [intervals.influences(each.omitted, d.strata) for each, d in ((there, designs[1]), (here, designs[0]))]
    np.testing.assert_allclose(pulls, np.concatenate([own[0], -own[1]]), atol=1e-12)


def test_a_seed_that_is_lucky_on_both_sides_falls_out_of_the_drop() -> None:
    designs = [_design(np.zeros(40, int), 200, seed) for seed in (0, 1)]
    hard = [np.random.default_rng(seed).normal(size=40) for seed in (3, 4)]
    drops = []
    for luck in (-1.0, 0.2, 0.9):  # much luck, the same on both sides
        here, there = (_mean(each + luck, design) for each, design in zip(hard, designs, strict=True))
        drops.append(apart(there, here))
    assert estimate(drops, strata_apart(designs[1], designs[0])).sources.by_seeds == pytest.approx(0, abs=1e-6)


def test_intervals_of_the_drop_cover_as_they_promise() -> None:
    """Lesions of both sides, seeds that both sides share, and what a seed loses on its own way: 400 studies."""
    rng, held = np.random.default_rng(5), []
    designs = [_design(np.repeat([0, 1], counts), 200, seed) for seed, counts in enumerate([(30, 20), (15, 25)])]
    strata = strata_apart(designs[1], designs[0])
    for _ in range(400):
        hard = [rng.normal(size=len(design.strata)) for design in designs]
        drops = []
        for _ in range(3):
            luck, way = 0.5 * rng.normal(), 0.15 * rng.normal()
            sides = [each + 0.5 * rng.normal(size=len(each)) + luck for each in hard]
            drops.append(apart(_mean(sides[1] - 0.4 + way, designs[1]), _mean(sides[0], designs[0])))
        found = estimate(drops, strata).interval(0.95)
        held.append(found.low <= -0.4 <= found.high)
    assert 0.92 <= np.mean(held) <= 0.985, np.mean(held)


def test_drops_of_real_metrics_cover_and_equal_arms_travel_alike() -> None:
    """The slim form of `python -m benchmarks.external_validation`, whose full table stands in docs/deciding.md."""
    worlds = World("", (20, 15), 3, 0.2), World("", (12, 18), 3, 0.2, skill=1.0)
    found = simulation.simulate(worlds, repeats=50, resamples=200, arms=2, models=50)
    assert found.pop("alarm") <= 0.12
    assert len(found) == 10
    assert all(share >= 0.84 for share in found.values()), found


@pytest.mark.parametrize("bins", [1, 4])
def test_calibration_errors_are_the_debiased_ones_and_a_loops(bins: int) -> None:
    rng = np.random.default_rng(3)
    labels, p = rng.integers(0, 3, 60), rng.dirichlet([1, 1, 1], 60)
    groups = rng.integers(0, 25, 60)
    said, happened = calibration.answer(labels, p)
    places = calibration.equal_mass(said, bins)
    plain = calibration_errors(labels, groups, p, unit_weights(60), bins)[0]
    expected = calibration.debiased_squared_error(said, happened, places, groups)
    assert plain == pytest.approx(np.sqrt(max(expected, 0)))
    weights = bootstrap.resample_groups(groups, 3, rng)
    found = calibration_errors(labels, groups, p, weights, bins)
    for column, weight in enumerate(weights.T):
        total = images = 0.0
        for place in range(places.max() + 1):
            rows = np.flatnonzero(places == place)
            pairs = [(i, j) for i in rows for j in rows if groups[i] != groups[j]]
            ways = sum(weight[i] * weight[j] for i, j in pairs)
            d = happened - said
            if ways:
                total += weight[rows].sum() * sum(weight[i] * weight[j] * d[i] * d[j] for i, j in pairs) / ways
                images += weight[rows].sum()
        assert found[column] == pytest.approx(np.sqrt(max(total / images, 0)), abs=1e-6)


# --- a study with a planted truth


def _plan(**changes: object) -> TransferPlan:
    plain = {
        "cohort": "pad",
        "arms": ("imagenet", "vae"),
        "reference": "imagenet",
        "classes": CLASSES,
        "malignant": MALIGNANT,
        "levels": (0.9,),
        "bins": 15,
        "rule": Rule(0.95, 0.02, 3),
        "resamples": 200,
        "seed": 0,
        "synthetic": False,
    }
    return TransferPlan(**(plain | changes))


def _study(
    skills: dict[str, tuple[float, float]], lesions: tuple[int, int] = (450, 350), without: tuple[str, ...] = ()
) -> list[Run]:
    """Runs whose arms have one skill on val and test, another on the external images, which lack some classes."""
    rng = np.random.default_rng(0)
    parts = [draw_lesions(count, split, rng) for count, split in ((300, "val"), (lesions[0], "test"))]
    outside = draw_lesions(lesions[1], EXTERNAL, rng)
    parts.append(outside[~outside["label"].isin(without)])
    images = pd.concat(parts, ignore_index=True)
    common, there = common_noise(images, rng), (images["split"] == EXTERNAL).to_numpy()
    runs = []
    for arm, (inside, beyond) in skills.items():
        for seed in range(3):
            luck = 0.03 * rng.normal()
            own = [say(images, skill + luck, 1.6, common, np.random.default_rng(seed)) for skill in (inside, beyond)]
            p = np.where(there[:, None], own[1], own[0])
            table = images[["image_id", "lesion_id", "group", "split", "label"]]
            table = table.assign(**{f"p_{name}": p[:, k] for k, name in enumerate(CLASSES)})
            runs.append(Run(RunId(arm, FinetuneProtocol.FROZEN, seed), table))
    return runs


def _labels(runs: list[Run], outside: dict[str, int] | None = None) -> LabelMap:
    table = runs[0].predictions.query("split == @EXTERNAL").assign(diagnosis=lambda t: t["label"].str.upper())
    return check_labels("pad", table, outside or {}, same_images(runs, "test", CLASSES), CLASSES)


def _assess(runs: list[Run], **changes: object) -> Transfer:
    return assess(runs, _labels(runs), _plan(**changes), SilentLog())


@pytest.fixture(scope="module")
def worse() -> Transfer:
    """imagenet loses nothing, vae much; the external set has no df and no vasc."""
    return _assess(_study({"imagenet": (2.2, 2.2), "vae": (2.6, 1.0)}, without=("df", "vasc")))


def test_a_planted_drop_is_told_and_none_is_where_there_is_none(worse: Transfer) -> None:
    said = [claim.text for claim in worse.claims]
    assert re.match(r"imagenet, frozen: no drop can be shown on pad; balanced accuracy changes by", said[0])
    lost = r"vae, frozen loses (\d+\.\d) points of balanced accuracy \(95 % (\d+\.\d) to (\d+\.\d)\) on pad\.$"
    match = re.match(lost, said[1])
    assert match is not None, said[1]
    loss, low, high = map(float, match.groups())
    change = worse.sheets[1].changes["balanced_accuracy"]
    assert loss == pytest.approx(-100 * change.drop.mean, abs=0.051) and low < loss < high
    assert change.drop.mean == pytest.approx(change.external.mean - change.internal.mean)
    assert said[2].startswith("vae, frozen, loses more than imagenet: between their changes lie")
    assert said[3] == (
        "The order of arms isn't the same on pad (frozen): vae before imagenet here, imagenet before vae there; "
        "intervals on both sides agree."
    )


def test_the_drop_against_the_reference_is_the_difference_of_drops(worse: Transfer) -> None:
    reference, arm = (sheet.changes for sheet in worse.sheets)
    for name, change in arm.items():
        assert change.against is not None and reference[name].against is None
        assert change.against.mean == pytest.approx(change.drop.mean - reference[name].drop.mean)


def test_both_sides_are_measured_over_the_classes_that_both_have(worse: Transfer) -> None:
    assert (worse.labels.lacking, worse.labels.few) == (("df", "vasc"), ())
    runs = _study({"imagenet": (2.2, 2.2), "vae": (2.6, 1.0)}, without=("df", "vasc"))
    kept = [CLASSES.index(name) for name in worse.labels.compared]
    for side, split in (("internal", "test"), ("external", EXTERNAL)):
        found = []
        for run in runs[:3]:
            table = run.predictions[run.predictions["split"] == split]
            table = table[table["label"].isin(worse.labels.compared)]
            answers = table[[f"p_{name}" for name in CLASSES]].to_numpy().argmax(1)
            truth = table["label"].map(CLASSES.index)
            found.append(recall_score(truth, answers, labels=kept, average="macro"))
        assert getattr(worse.sheets[0].changes["balanced_accuracy"], side).mean == pytest.approx(np.mean(found))


def test_accuracy_at_the_internal_mix_is_that_of_the_classes_weighed_anew(worse: Transfer) -> None:
    changes = worse.sheets[1].changes
    assert changes["accuracy_reweighted"].internal.mean == pytest.approx(changes["accuracy"].internal.mean)
    counts = {each.name: each.internal_images for each in worse.labels.classes if each.compared}
    expected = sum(n * changes[f"sensitivity.{name}"].external.mean for name, n in counts.items()) / sum(
        counts.values()
    )
    assert changes["accuracy_reweighted"].external.mean == pytest.approx(expected)


def test_thresholds_and_temperatures_are_vals(worse: Transfer) -> None:
    runs = _study({"imagenet": (2.2, 2.2), "vae": (2.6, 1.0)}, without=("df", "vasc"))
    rates, temperatures = [], []
    for run in runs[3:]:
        risk = run.predictions[[f"p_{name}" for name in MALIGNANT]].sum(axis=1).to_numpy()
        is_malignant = run.predictions["label"].isin(MALIGNANT).to_numpy()
        val, there = (run.predictions["split"] == name for name in ("val", EXTERNAL))
        line = operating_points.threshold(risk[val], is_malignant[val], "specificity", 0.9)
        rates.append((risk[there & is_malignant] >= line).mean())
        table = run.predictions[val]
        labels = table["label"].map(CLASSES.index).to_numpy()
        temperatures.append(calibration.fit_temperature(labels, table[[f"p_{n}" for n in CLASSES]].to_numpy()))
    sheet = worse.sheets[1]
    assert sheet.changes["sensitivity_at_specificity_0.9"].external.mean == pytest.approx(np.mean(rates))
    assert sheet.temperatures == pytest.approx(temperatures, rel=1e-4)


def test_a_copy_of_the_internal_test_has_no_drop_and_an_interval_of_two_sets() -> None:
    own = _study({"imagenet": (2.2, 2.2)}, lesions=(200, 10))[0].predictions.query("split != @EXTERNAL")
    table = pd.concat([own, _renamed(own)])
    runs = [Run(RunId("imagenet", FinetuneProtocol.FROZEN, seed), table) for seed in range(3)]  # all luck is lesions'
    changes = _assess(runs, arms=("imagenet",), resamples=1000).sheets[0].changes
    for name, change in changes.items():
        assert change.drop.mean == pytest.approx(0, abs=1e-12), name
    whole = changes["accuracy"]
    ratio = (whole.drop.high - whole.drop.low) / (whole.internal.high - whole.internal.low)
    assert ratio == pytest.approx(np.sqrt(2), rel=0.08)


def _renamed(table: pd.DataFrame) -> pd.DataFrame:
    """The test images as an external set of the same lesions under other names."""
    test = table[table["split"] == "test"]
    return test.assign(image_id="x" + test["image_id"], group="x" + test["group"], split=EXTERNAL)


def test_p_values_are_corrected_over_arms() -> None:
    runs = _study({"imagenet": (2.2, 2.2), "vae": (2.6, 2.1), "random": (1.0, 0.9)}, lesions=(200, 150))
    sheets = _assess(runs, arms=("imagenet", "vae", "random")).sheets
    assert [s.dropped.holm for s in sheets] == pytest.approx(holm([s.dropped.p for s in sheets]))
    travels = [s.travels for s in sheets if s.travels]
    assert len(travels) == 2
    assert [each.holm for each in travels] == pytest.approx(holm([each.p for each in travels]))


def test_few_seeds_decide_nothing() -> None:
    runs = [run for run in _study({"imagenet": (2.6, 0.8)}) if run.seed < 2]
    said = _assess(runs, arms=("imagenet",)).claims
    assert said[0].text.startswith("imagenet, frozen: no drop can be shown on pad")
    assert said[0].text.endswith("Nothing is decided from 2 seeds: compare.min_seeds asks for 3.")
    assert len(said) == 1


def test_where_no_class_is_known_to_be_malignant_nothing_is_said_of_it() -> None:
    runs = _study({"imagenet": (2.2, 2.2)}, lesions=(120, 90))
    assert not [name for name in _assess(runs, arms=("imagenet",), malignant=None).measures if "malignant" in name]
    assert "malignant_auroc" in _assess(runs, arms=("imagenet",)).measures


# --- labels


def _counts(**lesions: int) -> pd.DataFrame:
    labels = [name for name, count in lesions.items() for _ in range(count)]
    groups = [f"g{row}" for row in range(len(labels))]
    return pd.DataFrame({"diagnosis": [f"{name.upper()}" for name in labels], "label": labels, "group": groups})


def test_a_class_of_few_lesions_is_left_out_and_what_became_of_each_diagnosis_is_told() -> None:
    runs = _study({"imagenet": (2.2, 2.2)}, lesions=(200, 60))
    table = pd.concat([_counts(mel=20, nv=30, vasc=LEAST - 1), _counts(nv=1).assign(diagnosis="mole")])
    table = pd.concat([table, pd.DataFrame({"diagnosis": [None], "label": [None], "group": ["bare"]})])
    found = check_labels("pad", table, {"SCC": 7}, same_images(runs, "test", CLASSES), CLASSES)
    assert found.compared == ("mel", "nv")
    assert found.few == ("vasc",)
    assert found.lacking == ("akiec", "bcc", "bkl", "df")
    told = {each.diagnosis: (each.label, each.images) for each in found.mapped}
    assert told == {"MEL": ("mel", 20), "NV": ("nv", 30), "VASC": ("vasc", 4), "mole": ("nv", 1)}
    assert (found.outside, found.unlabelled) == ({"SCC": 7}, 1)


def test_a_set_of_one_class_or_without_labels_is_refused() -> None:
    runs = _study({"imagenet": (2.2, 2.2)}, lesions=(200, 60))
    here = same_images(runs, "test", CLASSES)
    with pytest.raises(DataError, match=r"external test set pad: 1 classes have 5 lesions on both sides, expected at"):
        check_labels("pad", _counts(mel=20, nv=4), {}, here, CLASSES)
    with pytest.raises(DataError, match=r"pad: none of 3 accepted images has a label.*'NEV': 3.*external.diagnoses"):
        check_labels("pad", _counts(nv=3).assign(label=None), {"NEV": 3}, here, CLASSES)


def test_a_cohorts_words_are_those_that_it_is_told_to_mean(repo: Path) -> None:
    labels = Labels(scheme="two", schemes={"two": {"mel": ("mel",), "nv": ("nv", "naevus")}})
    dataset = {"kind": "ham10000", "path": "somewhere"}
    cohort = Cohort.model_validate({"name": "pad", "dataset": dataset, "diagnoses": {"NEV": "naevus", "mel": None}})
    assert cohort.mapping(labels) == {"nv": "nv", "naevus": "nv", "NEV": "nv"}
    assert cohort.left_out == ("mel",)
    data = read_yaml(repo / "params.yaml")
    data["external"] = [{"name": "pad", "dataset": dataset, "diagnoses": {"NEV": "mole"}}]
    with pytest.raises(SettingsError, match=r"external pad: diagnoses maps \{'NEV': 'mole'\}, expected some of"):
        parse_settings(data, "params.yaml")


# --- page and data


def test_the_page_says_the_answer_and_asks_nothing_of_the_net(worse: Transfer) -> None:
    text = render(worse, draw_figures(worse))
    assert text.count("<h1>") == 1
    assert "Not a medical device" in text
    for claim in worse.claims:
        assert f'href="#{claim.anchor}"' in text
        assert f'id="{claim.anchor}"' in text
    assert not re.search(r'(?:src|href)="(?!#)', text)
    assert text == render(worse, draw_figures(worse))
    assert "SYNTHETIC" not in text


def test_the_figure_has_the_internal_side_hollow_above_the_external_one() -> None:
    trip = figure.Trip("vae", "#0072b2", Interval(0.7, 0.6, 0.8), Interval(0.5, 0.45, 0.55))
    alone = figure.Trip("one seed", "#0072b2", Interval(0.7, -np.inf, np.inf), Interval(np.nan, -np.inf, np.inf))
    lines = figure.draw([trip, alone], "balanced accuracy, %", unit=100).axes[0].lines
    here, dot_here, there, dot_there, lonely = lines  # no whisker without an interval, nothing for what is not known
    assert list(here.get_xdata()) == pytest.approx([60, 80]) and list(there.get_xdata()) == pytest.approx([45, 55])
    assert (dot_here.get_xdata()[0], dot_there.get_xdata()[0]) == (70, 50)
    assert (dot_here.get_markerfacecolor(), dot_there.get_markerfacecolor()) == ("#ffffff", "#0072b2")
    assert dot_here.get_ydata()[0] < dot_there.get_ydata()[0] < lonely.get_ydata()[0]  # drawn from the top


def test_drawings_are_called_drawings() -> None:
    runs = _study({"imagenet": (2.2, 2.2)}, lesions=(120, 90))
    found = _assess(runs, arms=("imagenet",), synthetic=True)
    assert all(claim.text.startswith("SYNTHETIC, pipeline check, not evidence:") for claim in found.claims)
    assert "SYNTHETIC DATA" in render(found, draw_figures(found))


def test_record_and_metrics_are_plain_and_finite(worse: Transfer) -> None:
    record = as_record(worse)
    json.dumps(record, allow_nan=False)
    assert record["labels"]["lacking"] == ["df", "vasc"]
    assert record["measures"]["log_loss"]["bounds"] == [0.0, None]
    metrics = as_metrics(worse)
    drop = metrics["vae-frozen"]["balanced_accuracy"]["drop"]
    assert drop == pytest.approx(worse.sheets[1].changes["balanced_accuracy"].drop.mean, abs=1e-6)
    json.dumps(metrics, allow_nan=False)


# --- the stage


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A study whose classifiers have learned nothing, evaluated, and a cohort that shows its test images again."""
    from components.models.classifier import Classifier, Head
    from components.models.weights_file import save_classifier
    from flows.evaluate import evaluate

    monkeypatch.chdir(build(tmp_path, count=3))
    settings = load_settings()
    for split in ("val", "test"):
        write_split(settings.paths.pixels / split, 24)
    for seed, arm in enumerate(("vae", "random")):
        encoder = _seeded_encoder(settings.backbone, seed)
        classifier = Classifier(encoder, Head(encoder.feature_dim, 8, 0.2, len(THREE)))
        header = {"classes": THREE, "head": {"hidden": 8, "dropout": 0.2}}
        name = settings.paths.classifiers / f"{arm}-frozen-0.safetensors"
        save_classifier(name, classifier.state_dict(), settings.backbone, header)
    given = _given(settings)
    evaluate.work(**{name: given[name] for name in evaluate.arguments})
    _admit(settings.paths.pixels / "test", settings.paths.external)
    return tmp_path


def _seeded_encoder(backbone: object, seed: int) -> object:
    import torch

    torch.manual_seed(seed)
    return backbone.build()


def _given(settings: object) -> dict[str, object]:
    study = settings.study.model_copy(update={"protocols": ("frozen",), "seeds": (0,), "reference": "random"})
    cohort = Cohort.model_validate({"name": "again", "dataset": {"kind": "ham10000", "path": "theirs"}})
    sections = {name: getattr(settings, name) for name in type(settings).model_fields if name != "validate_"}
    small = {"pack": settings.pack.model_copy(update={"image_size": SIDE})}
    quick = {"compare": settings.compare.model_copy(update={"resamples": 60})}
    clinical = {"clinical": settings.clinical.model_copy(update={"malignant": ("malignant",), "severity": None})}
    return sections | small | quick | clinical | {"study": study, "external": (cohort,), "log": SilentLog()}


def _admit(test: Path, external: Path) -> None:
    """What admit leaves, for the packed images as files; one more row is unlabelled."""
    index, images = pd.read_csv(test / "index.csv", dtype="str"), np.load(test / "images.npy")
    Path("theirs").mkdir()
    rows = []
    for place, (row, image) in enumerate(zip(index.itertuples(), images, strict=True)):
        Image.fromarray(image).save(f"theirs/{place}.png")
        label = None if place == 0 else row.label
        rows.append({"image_id": f"x{row.image_id}", "path": f"{place}.png", "diagnosis": label, "label": label})
    table = pd.DataFrame(rows).assign(
        lesion_id=lambda t: t["image_id"], patient_id=None, sha256=lambda t: t["image_id"]
    )
    write_records(table.assign(twins=None), external / "again.parquet")
    reasons = pd.DataFrame({"image_id": ["a", "b"], "rule": ["diagnosis.outside_map", "image.grey"], "value": "SCC"})
    reasons.to_csv(external / "again.quarantine.csv", index=False)


def test_the_stage_predicts_as_evaluate_does_and_tells_what_it_left_out(place: Path) -> None:
    from flows.external_validation import external_validation

    given = _given(load_settings())
    metrics = external_validation.work(
        **{name: given[name] for name in external_validation.arguments if name != "cohort"}, cohort="again"
    )
    for arm in ("vae", "random"):
        internal = pd.read_parquet(f"data/predictions/{arm}-frozen-0.parquet").query("split == 'test'")
        external = pd.read_parquet(f"data/external_predictions/again/{arm}-frozen-0.parquet")
        assert list(external) == list(internal)
        assert set(external["split"]) == {EXTERNAL}
        assert len(external) == 23  # the one without a label is left out
        columns = [f"p_{name}" for name in THREE]
        expected = internal.assign(image_id="x" + internal["image_id"]).set_index("image_id")[columns]
        found = external.set_index("image_id")[columns]
        np.testing.assert_allclose(found, expected.loc[found.index], atol=1e-6)
    record = json.loads(Path("reports/external/again.json").read_text())
    assert (record["labels"]["outside"], record["labels"]["unlabelled"]) == ({"SCC": 1}, 1)
    assert metrics["images"] == 23 and metrics["classes"] == 3
    assert "again: 1 images of 'SCC' are in no class and are left out" in given["log"].lines
    assert Path("reports/external/again.html").is_file()
    assert sorted(path.name for path in Path("data/external").iterdir()) == ["again.parquet", "again.quarantine.csv"]


def test_words_of_private_data_are_told_only_where_params_yaml_names_them(place: Path) -> None:
    from flows.external_validation import OTHER_WORDS, external_validation

    given = _given(load_settings())
    (cohort,) = given["external"]
    given["external"] = (cohort.model_copy(update={"diagnoses": {"SCC": None}}),)
    given["privacy"] = given["privacy"].model_copy(update={"key": "secret"})
    words = ["SCC", "SCC", "mole of Anna Muster", "Muster, Ben: naevus", "Muster, Ben: naevus"]
    reasons = pd.DataFrame({"image_id": list("abcde"), "rule": "diagnosis.outside_map", "value": words})
    reasons.to_csv("data/external/again.quarantine.csv", index=False)
    metrics = external_validation.work(
        **{name: given[name] for name in external_validation.arguments if name != "cohort"}, cohort="again"
    )
    record, page = (Path(f"reports/external/again.{kind}").read_text() for kind in ("json", "html"))
    assert json.loads(record)["labels"]["outside"] == {"SCC": 2, OTHER_WORDS: 3}
    assert OTHER_WORDS in page
    log = given["log"]
    for text in (record, page, json.dumps(metrics), *log.lines):
        assert "Muster" not in text


def test_the_stage_names_a_run_that_evaluate_did_not_see(place: Path) -> None:
    from flows.external_validation import external_validation

    given = _given(load_settings())
    Path("data/predictions/vae-frozen-0.parquet").unlink()
    with pytest.raises(DataError, match=r"vae-frozen-0.parquet is missing, expected for every run of study"):
        external_validation.work(
            **{name: given[name] for name in external_validation.arguments if name != "cohort"}, cohort="again"
        )
    with pytest.raises(SettingsError, match=r"external \(params.yaml\) has no cohort 'other', only \['again'\]"):
        external_validation.work(
            **{name: given[name] for name in external_validation.arguments if name != "cohort"}, cohort="other"
        )
