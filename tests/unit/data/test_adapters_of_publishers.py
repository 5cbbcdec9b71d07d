"""The adapters bcn20000, ddi, derm12345, scin and mra_midas, on tables of the published layouts."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from components.base.errors import DataError
from components.data.adapters.bcn20000 import Config as Bcn20000
from components.data.adapters.ddi import Config as Ddi
from components.data.adapters.derm12345 import Config as Derm12345
from components.data.adapters.mra_midas import Config as MraMidas
from components.data.adapters.scin import Config as Scin
from components.data.read_report import ReadReport
from tests.unit.data.example_data import write_example


def read(config, report: ReadReport | None = None) -> pd.DataFrame:
    return config.read(report or ReadReport()).set_index("image_id")


def test_bcn20000_joins_both_tables_and_leaves_test_rows_unlabelled(tmp_path: Path):
    table = read(write_example("bcn20000", tmp_path))
    assert table["diagnosis"].fillna("-").to_dict() == {"BCN_1": "MEL", "BCN_2": "MEL", "BCN_3": "NV", "BCN_4": "-"}
    assert table["lesion_id"].to_dict() == {"BCN_1": "BCN_L1", "BCN_2": "BCN_L1", "BCN_3": "BCN_3", "BCN_4": "BCN_L4"}
    assert table.loc["BCN_1", ["age", "sex", "site"]].to_list() == [55.0, "male", "anterior torso"]
    assert table.loc["BCN_4", "path"] == "BCN_20k_test/BCN_4.jpg"


def test_bcn20000_without_its_tables_is_refused(tmp_path: Path):
    with pytest.raises(DataError, match=r"neither bcn_20k_train.csv nor bcn_20k_test.csv"):
        Bcn20000(path=tmp_path).read(ReadReport())


def test_ddi_keeps_the_pair_of_skin_types_in_the_source(tmp_path: Path):
    config = write_example("ddi", tmp_path)
    table = read(config)
    assert table["source"].to_dict() == {"000001": "ddi skin types V-VI", "000002": "ddi skin types I-II"}
    assert table["skin_type"].isna().all()
    assert table["diagnosis"].to_list() == ["melanoma-in-situ", "seborrheic-keratosis"]
    assert read(config.model_copy(update={"label": "malignant"}))["diagnosis"].to_list() == ["malignant", "benign"]


def test_ddi_counts_skin_tones_that_it_does_not_know(tmp_path: Path):
    write_example("ddi", tmp_path)
    (tmp_path / "ddi_metadata.csv").write_text("DDI_file,skin_tone,disease\n000001.png,99,nevus\n000002.png,12,nevus\n")
    report = ReadReport()
    assert read(Ddi(path=tmp_path), report)["source"].to_list() == ["ddi", "ddi skin types I-II"]
    assert report.counts()["warnings"]["skin_tones"] == 1


def test_derm12345_reads_each_level_of_its_labels(tmp_path: Path):
    config = write_example("derm12345", tmp_path)
    assert read(config)["diagnosis"].to_list() == ["jd", "mel", "sk"]
    assert read(config)["patient_id"].to_list() == ["P1", "P1", "P2"]
    malignancy = read(config.model_copy(update={"label": "malignancy"}))["diagnosis"]
    assert malignancy.to_list() == ["benign", "malignant", "benign"]


def test_derm12345_without_a_column_of_patients_has_none(tmp_path: Path):
    write_example("derm12345", tmp_path)
    for name in ("derm12345_metadata_train.csv", "derm12345_metadata_test.csv"):
        file = tmp_path / name
        file.write_text("".join(line.partition(",")[2] for line in file.read_text().splitlines(keepends=True)))
    assert read(Derm12345(path=tmp_path))["patient_id"].isna().all()


def test_scin_makes_a_row_of_each_image_of_a_case(tmp_path: Path):
    table = read(write_example("scin", tmp_path))
    assert table["lesion_id"].to_dict() == {"-11": "101", "13": "102", "12": "101"}
    assert table["diagnosis"].fillna("-").to_dict() == {"-11": "Eczema", "13": "-", "12": "Eczema"}
    assert table["age"].fillna(-1).to_dict() == {"-11": 35.0, "13": -1, "12": 35.0}
    assert table["sex"].to_dict() == {"-11": "female", "13": "unknown", "12": "female"}
    assert table["site"].to_dict() == {"-11": "upper extremity", "13": "unknown", "12": "upper extremity"}
    assert table["skin_type"].fillna(0).to_dict() == {"-11": 3, "13": 0, "12": 3}


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ("{'Eczema': 0.5, 'Psoriasis': 0.5}", None),
        ("{'Eczema': 0.4, 'Psoriasis': 0.3, 'Acne': 0.3}", None),
        ("{'Eczema': 0.75, 'Psoriasis': 0.25}", "Eczema"),
        ("{}", None),
        ("no mapping", None),
        ("__import__('os').getcwd()", None),
    ],
)
def test_scin_takes_the_one_condition_with_enough_weight(tmp_path: Path, weights, expected):
    write_example("scin", tmp_path)
    (tmp_path / "scin_labels.csv").write_text(
        f'case_id,weighted_skin_condition_label\n101,"{weights}"\n102,"{{\'Acne\': 1.0}}"\n'
    )
    assert (read(Scin(path=tmp_path))["diagnosis"]["-11"] == expected) or (
        expected is None and pd.isna(read(Scin(path=tmp_path))["diagnosis"]["-11"])
    )


def test_scin_labels_of_other_cases_are_refused(tmp_path: Path):
    write_example("scin", tmp_path)
    (tmp_path / "scin_labels.csv").write_text("case_id,weighted_skin_condition_label\n901,{}\n902,{}\n")
    with pytest.raises(DataError, match=r"scin_labels.csv: 0 of 2 images matched; expected at least 90%"):
        Scin(path=tmp_path).read(ReadReport())


def test_scin_skin_type_of_the_dermatologist(tmp_path: Path):
    config = write_example("scin", tmp_path).model_copy(update={"skin_type": "dermatologist"})
    assert read(config)["skin_type"].fillna(0).to_dict() == {"-11": 2, "13": 0, "12": 2}


def test_midas_reads_the_chosen_distances_and_counts_the_others(tmp_path: Path):
    config = write_example("mra_midas", tmp_path)
    table = read(config)
    assert table["path"].to_dict() == {name: f"{name}.jpg" for name in ("s-prd-1", "s-prd-2", "s-prd-3")}
    assert table["lesion_id"].to_list() == ["1_l abdomen", "1_l abdomen", "2_r back"]
    assert table["site"].to_list() == ["anterior torso", "anterior torso", "posterior torso"]
    assert table["skin_type"].to_list() == [2, 2, 5]
    assert table["diagnosis"].fillna("-").to_list() == ["malignant- bcc", "malignant- bcc", "-"]
    report = ReadReport()
    assert list(read(MraMidas(path=tmp_path, image="clinical"), report).index) == ["s-prd-2"]
    assert report.counts()["warnings"]["rows_left_out"] == 2
