"""How diagnoses of an external set are read and which classes are compared."""

from __future__ import annotations

import pandas as pd
import pytest

from components.base.errors import DataError
from components.external_validation.diagnoses import MIN_LESIONS
from components.external_validation.label_map import check_labels
from components.statistics.runs import same_images
from tests.unit.clinical.simulation import CLASSES
from tests.unit.external_validation.planted_drop import simulate_runs


def _counts(**lesions: int) -> pd.DataFrame:
    labels = [name for name, count in lesions.items() for _ in range(count)]
    groups = [f"g{row}" for row in range(len(labels))]
    return pd.DataFrame({"diagnosis": [f"{name.upper()}" for name in labels], "label": labels, "group": groups})


def test_a_class_of_few_lesions_is_left_out_and_each_diagnosis_is_counted() -> None:
    runs = simulate_runs({"imagenet": (2.2, 2.2)}, lesions=(200, 60))
    table = pd.concat([_counts(mel=20, nv=30, vasc=MIN_LESIONS - 1), _counts(nv=1).assign(diagnosis="mole")])
    table = pd.concat([table, pd.DataFrame({"diagnosis": [None], "label": [None], "group": ["bare"]})])
    found = check_labels("pad", table, {"SCC": 7}, same_images(runs, "test", CLASSES), CLASSES)
    assert found.compared == ("mel", "nv")
    assert found.few == ("vasc",)
    assert found.lacking == ("akiec", "bcc", "bkl", "df")
    mapped = {each.diagnosis: (each.label, each.images) for each in found.mapped}
    assert mapped == {"MEL": ("mel", 20), "NV": ("nv", 30), "VASC": ("vasc", 4), "mole": ("nv", 1)}
    assert (found.outside, found.unlabelled) == ({"SCC": 7}, 1)


def test_a_set_of_one_class_or_without_labels_is_refused() -> None:
    runs = simulate_runs({"imagenet": (2.2, 2.2)}, lesions=(200, 60))
    here = same_images(runs, "test", CLASSES)
    with pytest.raises(DataError, match=r"set pad: 1 classes have 5 lesions in both test sets, expected at"):
        check_labels("pad", _counts(mel=20, nv=4), {}, here, CLASSES)
    with pytest.raises(DataError, match=r"pad: none of 3 accepted images has a label.*'NEV': 3.*external.diagnoses"):
        check_labels("pad", _counts(nv=3).assign(label=None), {"NEV": 3}, here, CLASSES)
