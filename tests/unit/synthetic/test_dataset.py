from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from components.synthetic.confounders import CONFOUNDERS
from components.synthetic.dataset import (
    CLASS_COUNTS,
    COLUMNS,
    confounder_rate,
    draw_dataset,
    draw_view,
    draw_views,
    encode,
    plan_lesions,
)
from components.synthetic.lesions import RECIPES, draw_lesion

SMALL = {
    "image_size": 32, "images_per_lesion": 1.5, "confounding": 0.6, "difficulty": 0.4, "seed": 7,
}  # fmt: skip


def read_files(folder: Path) -> dict[str, bytes]:
    files = {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    assert files
    return files


def test_the_same_settings_give_the_same_bytes(tmp_path: Path):
    for name in ("one", "two"):
        draw_dataset(tmp_path / name, lesions=6, unlabelled=3, **SMALL)
    assert read_files(tmp_path / "one") == read_files(tmp_path / "two")


def test_more_lesions_change_none_of_the_others(tmp_path: Path):
    draw_dataset(tmp_path / "few", lesions=4, unlabelled=2, **SMALL)
    draw_dataset(tmp_path / "many", lesions=9, unlabelled=4, **SMALL)
    few, many = read_files(tmp_path / "few"), read_files(tmp_path / "many")
    images = {name for name in few if name.endswith(".jpg")}
    assert len(images) >= 6
    assert all(few[name] == many[name] for name in images)


def test_more_views_change_none_of_the_others():
    lesion = plan_lesions(1, 0, 6, seed=3)[0]
    canvas = draw_lesion(lesion, 32, 0.4, seed=3)
    views = [picture for picture, _ in draw_views(lesion, image_size=32, confounding=0.6, difficulty=0.4, seed=3)]
    assert len(views) == 6
    assert np.array_equal(views[4], draw_view(lesion, canvas, 4, image_size=32, confounding=0.6, seed=3)[0])


def test_the_folder_says_what_it_is_and_lists_every_image(tmp_path: Path):
    table = draw_dataset(tmp_path / "set", lesions=5, unlabelled=7, **SMALL)
    assert "SYNTHETIC" in (tmp_path / "set" / "README.txt").read_text()
    read = pd.read_csv(tmp_path / "set" / "metadata.csv", dtype={"age": float})
    pd.testing.assert_frame_equal(read, table, check_dtype=False)
    assert tuple(read) == COLUMNS
    assert set(read["dataset"]) == {"SYNTHETIC"}
    assert read["image_id"].is_unique
    assert read["diagnosis"].isna().sum() == 7
    assert set(read["path"]) == {
        file.relative_to(tmp_path / "set").as_posix() for file in (tmp_path / "set").rglob("*.jpg")
    }


def test_drawing_again_replaces_what_was_there(tmp_path: Path):
    draw_dataset(tmp_path / "set", lesions=5, unlabelled=0, **SMALL)
    table = draw_dataset(tmp_path / "set", lesions=2, unlabelled=0, **SMALL)
    assert len(list((tmp_path / "set" / "images").iterdir())) == len(table)
    assert [entry.name for entry in tmp_path.iterdir()] == ["set"]


def test_no_lesions_draw_nothing(tmp_path: Path):
    assert draw_dataset(tmp_path / "set", lesions=0, unlabelled=80, **SMALL).empty
    assert list((tmp_path / "set" / "images").iterdir()) == []
    assert tuple(pd.read_csv(tmp_path / "set" / "metadata.csv")) == COLUMNS


def test_the_demo_has_at_least_14_lesions_of_every_class():
    counts = Counter(lesion.drawn_class for lesion in plan_lesions(260, 0, 1.4, seed=7))
    assert set(counts) == set(RECIPES) == set(CLASS_COUNTS)
    assert min(counts.values()) >= 14
    assert counts["nv"] == max(counts.values())


def test_a_patient_has_one_to_three_lesions_one_age_one_skin():
    plan = plan_lesions(240, 0, 1.4, seed=5)
    lesions = Counter(lesion.patient for lesion in plan)
    assert set(lesions.values()) == {1, 2, 3}
    facts = {(lesion.patient, lesion.age, lesion.sex, lesion.skin_type) for lesion in plan}
    assert len(facts) == len(lesions)


def test_unlabelled_images_come_from_other_patients_and_have_no_diagnosis():
    plan = plan_lesions(30, 25, 2, seed=5)
    hidden = [lesion for lesion in plan if lesion.diagnosis is None]
    assert sum(lesion.views for lesion in hidden) == 25
    assert not {lesion.patient for lesion in hidden} & {lesion.patient for lesion in plan[:30]}


@pytest.mark.parametrize("mean", [1.0, 1.4, 3.0, 6.0])
def test_views_a_lesion_have_the_mean_of_the_settings(mean: float):
    views = [lesion.views for lesion in plan_lesions(1500, 0, mean, seed=5)]
    assert min(views) >= 1
    assert max(views) <= 6
    error = np.sqrt((mean - 1) * (6 - mean) / 5 / 1500)  # of the mean of 1 + binomial(5, p)
    assert abs(np.mean(views) - mean) <= 4 * error


@pytest.mark.parametrize("size", [32, 45, 96])
def test_a_picture_has_the_shorter_side_of_the_settings(size: int):
    lesion = plan_lesions(1, 0, 1, seed=3)[0]
    picture, _ = next(draw_views(lesion, image_size=size, confounding=0.6, difficulty=0.4, seed=3))
    assert picture.shape == (size, round(size * 4 / 3), 3)
    assert picture.dtype == np.uint8
    assert picture.std() > 5


def test_a_jpeg_shows_the_picture_in_the_same_colours():
    picture = np.full((32, 40, 3), (200, 120, 60), np.uint8)
    read = cv2.imdecode(np.frombuffer(encode(picture), np.uint8), cv2.IMREAD_COLOR_RGB)
    assert np.abs(read.astype(int) - picture).max() <= 3


def test_views_of_a_lesion_resemble_each_other_more_than_another_lesion():
    plan = [lesion for lesion in plan_lesions(60, 0, 6, seed=4) if lesion.views >= 4][:10]
    colours = np.array(
        [
            [
                picture.mean((0, 1))
                for picture, _ in draw_views(lesion, image_size=32, confounding=0.0, difficulty=0.4, seed=4)
            ][:4]
            for lesion in plan
        ]
    )  # (lesions, views, 3)
    assert colours.mean(1).var(0).sum() > colours.var(1).mean(0).sum() / 4


@pytest.mark.parametrize("name", CONFOUNDERS)
def test_without_confounding_a_confounder_is_equally_frequent_in_all_classes(name: str):
    rates = [confounder_rate(name, kind, 0.0) for kind in RECIPES]
    assert max(rates) - min(rates) < 1e-12
    assert 0 < rates[0] < 1


@pytest.mark.parametrize("name", CONFOUNDERS)
@pytest.mark.parametrize("confounding", [0.0, 0.3, 1.0])
def test_confounding_moves_a_confounder_between_classes_and_adds_none(name: str, confounding: float):
    total = sum(count * confounder_rate(name, kind, confounding) for kind, count in CLASS_COUNTS.items())
    assert total == pytest.approx(sum(count * confounder_rate(name, kind, 0.0) for kind, count in CLASS_COUNTS.items()))


def test_with_full_confounding_a_confounder_lies_on_its_classes_only(tmp_path: Path):
    settings = SMALL | {"confounding": 1.0, "images_per_lesion": 2.0}
    table = draw_dataset(tmp_path / "set", lesions=68, unlabelled=0, **settings)
    for name, rates in CONFOUNDERS.items():
        where = set(table.loc[table[name] == 1, "diagnosis"])
        assert where <= {kind for kind, rate in rates.items() if rate > 0}
        assert where


def test_progress_counts_every_lesion(tmp_path: Path):
    seen: list[tuple[int, str]] = []

    def track(items, total, what):
        seen.append((total, what))
        return items

    table = draw_dataset(tmp_path / "set", lesions=4, unlabelled=2, **SMALL, track=track)
    assert seen == [(table["lesion_id"].nunique(), "lesions drawn")]
