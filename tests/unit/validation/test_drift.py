"""Two versions of a data set: who came, went, changed name, label or bytes, and what that did to the whole."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from components.validation import quality_figure as figure
from components.validation.drift import (
    MAX_PER_KIND,
    DatasetChanges,
    assemble,
    compare,
    distance,
    most_changed,
    unusual,
    unusualness,
)
from components.validation.drift_page import ChangedImage, points, render
from components.validation.quality import MEASURES, format_value
from components.validation.thumbnails import tile


def version(labels: dict[str, str | None], **columns: object) -> pd.DataFrame:
    """A version whose images have the given labels; the bytes are named after the image."""
    ids = sorted(labels)
    rng = np.random.default_rng(0)
    facts = pd.DataFrame(
        {
            "image_id": ids,
            "path": [f"{name}.jpg" for name in ids],
            "sha256": [f"bytes of {name}" for name in ids],
            "luma": rng.normal(140, 10, len(ids)),
            "sharpness": np.exp(rng.normal(5, 0.3, len(ids))),
            "saturation": rng.uniform(0.2, 0.6, len(ids)),
            "vignette": 0.0,
            "phash": pd.array([1] * len(ids), "UInt64"),
        }
    ).assign(**columns)
    words = [labels[name] for name in ids]
    records = pd.DataFrame({"image_id": ids, "path": facts["path"], "diagnosis": words, "label": words, "source": "x"})
    return assemble(records.astype({"diagnosis": "str", "label": "str"}), facts, records)


OLD = {f"i{place:03}": "nv" if place % 3 else "mel" for place in range(60)}


def counts(changes: DatasetChanges) -> dict[str, int]:
    names = ("added", "removed", "relabelled", "replaced", "renamed", "newly_accepted", "newly_quarantined")
    return {name: len(getattr(changes, name)) for name in names if len(getattr(changes, name))}


def test_a_version_against_itself_has_no_change() -> None:
    changes = compare(version(OLD), version(OLD))
    assert changes.empty
    assert counts(changes) == {}
    assert (changes.quality["distance"] == 0).all()
    assert (changes.classes["difference"] == 0).all()
    assert most_changed(changes).empty


def test_each_change_is_found_and_counted_once() -> None:
    new = {name: label for name, label in OLD.items() if name not in ("i001", "i002", "i003")}
    after = version({**new, "i010": "bcc", "i011": None, "z001": "nv", "z002": "df"})
    after.loc[after["image_id"] == "i020", "sha256"] = "other bytes"
    changes = compare(version(OLD), after)
    assert counts(changes) == {"added": 2, "removed": 3, "relabelled": 2, "replaced": 1}
    assert changes.relabelled["image_id_after"].tolist() == ["i010", "i011"]
    assert changes.added["image_id"].tolist() == ["z001", "z002"]
    assert changes.removed["image_id"].tolist() == ["i001", "i002", "i003"]


def test_a_renamed_file_is_neither_added_nor_removed() -> None:
    after = version({("z" if name == "i005" else name): label for name, label in OLD.items()})
    after.loc[after["image_id"] == "z", "sha256"] = "bytes of i005"
    changes = compare(version(OLD), after)
    assert counts(changes) == {"renamed": 1}
    assert changes.renamed[["image_id_before", "image_id_after"]].to_numpy().tolist() == [["i005", "z"]]


def test_a_file_moved_to_another_class_is_relabelled() -> None:
    """In a folder a class, the id is the path: a new label is a new name with the same bytes."""
    after = version(
        {("mel/i004" if name == "i004" else name): label for name, label in OLD.items()} | {"mel/i004": "mel"}
    )
    after.loc[after["image_id"] == "mel/i004", "sha256"] = "bytes of i004"
    assert counts(compare(version(OLD), after)) == {"relabelled": 1, "renamed": 1}


def test_copies_are_matched_one_to_one() -> None:
    before, after = version({"a": "nv", "b": "nv", "c": "nv"}), version({"x": "nv", "y": "nv"})
    before["sha256"] = after["sha256"] = "same"
    changes = compare(before, after)
    assert counts(changes) == {"removed": 1, "renamed": 2}
    assert changes.renamed[["image_id_before", "image_id_after"]].to_numpy().tolist() == [["a", "x"], ["b", "y"]]


def test_files_that_could_not_be_read_match_nobody() -> None:
    before, after = version({"a": "nv"}), version({"b": "nv"})
    before["sha256"] = after["sha256"] = None
    assert counts(compare(before, after)) == {"added": 1, "removed": 1}


def test_an_image_that_passes_now_is_newly_accepted() -> None:
    before, after = version(OLD), version(OLD)
    before.loc[:2, "accepted"] = False
    after.loc[5, "accepted"] = False
    assert counts(compare(before, after)) == {"newly_accepted": 3, "newly_quarantined": 1}


def test_class_shares_are_those_of_the_accepted() -> None:
    before, after = version({"a": "nv", "b": "nv", "c": "mel", "d": "mel"}), version({"a": "nv", "b": "nv", "e": "bcc"})
    before.loc[before["image_id"] == "d", "accepted"] = False
    classes = compare(before, after).classes
    assert classes.index.tolist() == ["bcc", "mel", "nv"]
    assert classes["before"].tolist() == [0, 1, 2]
    assert classes["after"].tolist() == [1, 0, 2]
    np.testing.assert_allclose(classes["difference"], [1 / 3, -1 / 3, 0], atol=1e-12)


def test_distance_is_scipys_kolmogorov_smirnov() -> None:
    rng = np.random.default_rng(1)
    for shift, size in ((0.0, 50), (0.5, 31), (9.0, 7)):
        one, two = rng.normal(size=40).round(1), rng.normal(shift, size=size).round(1)  # with ties
        assert distance(one, two) == pytest.approx(stats.ks_2samp(one, two).statistic)
    assert np.isnan(distance(np.array([]), np.array([1.0])))


def test_quantiles_are_numpys() -> None:
    table = version(OLD)
    row = compare(table, table).quality.loc["luma"]
    np.testing.assert_allclose(row[["low_before", "middle_before", "high_before"]].astype(float),
                               np.quantile(table["luma"], (0.05, 0.5, 0.95)))  # fmt: skip


def test_the_farthest_measure_makes_an_image_strange() -> None:
    former = version({f"i{place}": "nv" for place in range(400)})
    images = version({"dark": "nv", "plain": "nv", "sharp": "nv"})
    images.loc[images["image_id"] == "dark", "luma"] = 5.0
    images.loc[images["image_id"] == "sharp", "sharpness"] = 1e6
    images.loc[images["image_id"] == "plain", ["luma", "sharpness"]] = [140.0, np.exp(5.0)]
    found = unusualness(images, former).set_axis(images["image_id"])
    assert found.loc["dark", "measure"] == "luma"
    assert found.loc["sharp", "measure"] == "sharpness"
    low, middle, high = np.quantile(former["luma"], (0.05, 0.5, 0.95))
    assert found.loc["dark", "score"] == pytest.approx((middle - 5) / ((high - low) / 3.29))
    assert found.loc["plain", "score"] < 3 < found.loc["dark", "score"] < found.loc["sharp", "score"]


def test_what_nobody_can_see_is_not_strange() -> None:
    former = version(OLD)  # no vignette anywhere, so its spread is 0
    images = version({"a": "nv"}).assign(vignette=0.04, luma=140.0, sharpness=np.exp(5.0), saturation=0.4)
    assert unusualness(images, former)["score"].item() < 3


def test_the_most_changed_come_in_order_and_at_most_so_many_of_a_kind() -> None:
    before = version({f"i{place:03}": "nv" for place in range(200)})
    labels: dict[str, str | None] = {f"i{place:03}": "mel" if place < 30 else "nv" for place in range(190)}
    after = version(labels | {"dark": "nv", "fine": "nv"})
    after.loc[after["image_id"].isin(["i050", "i060"]), "sha256"] = ["x", "y"]
    after.loc[after["image_id"] == "i060", "phash"] = 0b111110
    after.loc[after["image_id"] == "dark", "luma"] = 1.0
    after.loc[after["image_id"] == "fine", ["luma", "sharpness", "saturation"]] = [140.0, np.exp(5.0), 0.4]
    changes = compare(before, after)
    assert unusual(changes)["image_id_after"].tolist() == ["dark"]
    found = most_changed(changes)
    kinds = found["kind"].tolist()
    assert kinds == ["relabelled"] * MAX_PER_KIND + ["replaced"] * 2 + ["new and unusual"] + ["removed"] * 10
    assert found["words"][0] == "nv → mel"
    assert found["image_id_before"].isna().tolist() == [kind == "new and unusual" for kind in kinds]
    assert {each for each in found.to_numpy().ravel() if not isinstance(each, str)} == {None}  # and no NaN
    assert found.loc[found["kind"] == "replaced", "image_id_after"].tolist() == ["i060", "i050"]  # 6 bits, then 0
    assert found.loc[found["kind"] == "new and unusual", "image_id_after"].tolist() == ["dark"]


def test_a_measure_that_older_code_did_not_make_is_said_to_be_unknown() -> None:
    before = version(OLD).assign(saturation=np.nan, vignette=np.nan)
    changes = compare(before, version(OLD | {"z": "nv"}))
    assert changes.unknown == ("saturation", "vignette")
    assert np.isnan(changes.quality.loc["vignette", "distance"])
    most_changed(changes)


def test_older_tables_lack_columns_and_are_read_all_the_same() -> None:
    records = pd.DataFrame({"image_id": ["a"], "path": ["a.jpg"], "label": ["nv"]})
    facts = pd.DataFrame({"path": ["a.jpg"], "sha256": ["s"], "luma": [100.0]})
    table = assemble(records, facts, records)
    changes = compare(table, table)
    assert changes.empty
    assert changes.unknown == ("sharpness", "saturation", "vignette")


def test_an_empty_version_is_compared() -> None:
    empty = version(OLD).iloc[:0]
    assert counts(compare(empty, version(OLD))) == {"added": 60}
    assert counts(compare(version(OLD), empty)) == {"removed": 60}
    assert len(most_changed(compare(version(OLD), empty))) == MAX_PER_KIND


def test_the_figure_shows_percent_of_each_version() -> None:
    versions = {"old": np.array([10.0, 20.0, 30.0]), "new": np.array([200.0])}
    axes = figure.draw(versions, MEASURES[0], {"old": "#000000", "new": "#ff0000"}).axes[0]
    outlines = [patch.get_data() for patch in axes.patches]
    assert [outline.values.sum() for outline in outlines] == pytest.approx([100] * 4)
    place = np.flatnonzero(outlines[2].values).item()
    assert outlines[2].edges[place] <= 200 < outlines[2].edges[place + 1]


@pytest.mark.parametrize("measure", MEASURES, ids=lambda measure: measure.name)
@pytest.mark.parametrize("values", [[], [0.0], [0.0, 0.0], [0.3, 0.31]])
def test_every_value_falls_into_a_bin(measure: object, values: list[float]) -> None:
    given = np.array(values)
    edges = figure.bin_edges(given, measure)
    assert (np.diff(edges) > 0).all()
    counted, _ = np.histogram(np.maximum(given, edges[0]), edges)
    assert counted.sum() == len(values)


def test_the_page_names_versions_images_and_differences() -> None:
    after = version({**OLD, "i010": "bcc", "z": "nv"})
    changes = compare(version(OLD), after)
    cards = [
        ChangedImage("relabelled", "i010", "nv → bcc", after=tile("a picture")),
        ChangedImage("removed", "<b>", ""),
    ]
    text = render(changes, cards, ("v1", "workspace"), ["Something to know."])
    for words in (
        "from v1 to workspace",
        "i010",
        "nv → bcc",
        "Something to know.",
        "&lt;b&gt;",
        "60 images before, 61",
    ):
        assert words in text
    assert not re.search(r'href="[^#]', text)  # the page may be written to any folder
    assert "<script" not in text and "http:" not in text and "https:" not in text and ".jpg" not in text
    assert text == render(changes, cards, ("v1", "workspace"), ["Something to know."])


@pytest.mark.parametrize(
    ("value", "text"), [(4376.2, "4,376"), (156.4, "156"), (42.46, "42.5"), (0.0749, "0.07"), (0.0004, "0"), (0.0, "0")]
)
def test_values_are_written_with_the_figures_that_mean_something(value: float, text: str) -> None:
    assert format_value(value) == text


def test_a_difference_that_rounds_to_nothing_has_no_sign() -> None:
    assert [points(share) for share in (0.0, -0.0001, 0.021, -0.02)] == ["0.0", "0.0", "+2.1", "\N{MINUS SIGN}2.0"]
