"""SCIN: scin_cases.csv and scin_labels.csv next to the images of the Skin Condition Image Network.

Ward et al.: Creating an empirical dermatology dataset through crowdsourcing with web search advertisements, JAMA Netw
Open 7:e2446615 (2024). A case is what one person contributed at a time, with up to three images; the table names no
persons. Several dermatologists labelled a case: `weighted_skin_condition_label` holds the weight of each condition.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path, PurePosixPath
from typing import ClassVar, Literal

import pandas as pd
from pydantic import Field

from components.base.config import Frozen
from components.base.errors import DataError
from components.base.fields import Share
from components.base.licence import Licence
from components.data.adapters import ExampleData
from components.data.first_look import Certainty, FirstLook, Recognition
from components.data.joins import join_optional
from components.data.read_report import ReadReport
from components.data.records import conform
from components.data.sources import find_images, locate
from components.data.tables import TableFormat, find_table, read_table
from components.data.vocabulary import UNKNOWN, translate

CASES = "scin_cases.csv"
LABELS = "scin_labels.csv"
IMAGES = ("image_1_path", "image_2_path", "image_3_path")
WEIGHTS = "weighted_skin_condition_label"
SITES = {
    "body_parts_head_or_neck": "head/neck",
    "body_parts_arm": "upper extremity",
    "body_parts_palm": "palms/soles",
    "body_parts_back_of_hand": "upper extremity",
    "body_parts_torso_front": "anterior torso",
    "body_parts_torso_back": "posterior torso",
    "body_parts_genitalia_or_groin": "oral/genital",
    "body_parts_buttocks": "buttocks",
    "body_parts_leg": "lower extremity",
    "body_parts_foot_top_or_side": "lower extremity",
    "body_parts_foot_sole": "palms/soles",
}
SKIN_TYPES = {"self": "fitzpatrick_skin_type", "dermatologist": "dermatologist_fitzpatrick_skin_type_label_1"}

EXAMPLE = ExampleData(
    texts={
        CASES: (
            "case_id,age_group,sex_at_birth,fitzpatrick_skin_type,body_parts_arm,body_parts_leg,"
            "image_1_path,image_2_path,image_3_path\n"
            "101,AGE_30_TO_39,FEMALE,FST3,YES,,dataset/images/-11.png,dataset/images/12.png,\n"
            "102,AGE_UNKNOWN,OTHER_OR_UNSPECIFIED,NONE_IDENTIFIED,YES,YES,dataset/images/13.png,,\n"
        ),
        LABELS: (
            f"case_id,{SKIN_TYPES['dermatologist']},{WEIGHTS}\n"
            "101,FST2,\"{'Eczema': 0.67, 'Psoriasis': 0.33}\"\n"
            "102,,{}\n"
        ),
    },
    images=("images/-11.png", "images/12.png", "images/13.png"),
)


class Config(Frozen):
    """The 10,379 images of 5,033 cases of SCIN, taken by the persons themselves."""

    published: ClassVar[bool] = True
    licence: ClassVar[Licence] = Licence(
        name="SCIN",
        licence="SCIN Data Use License",
        commercial=None,
        citation="Ward et al.: Creating an empirical dermatology dataset through crowdsourcing with web search "
        "advertisements, JAMA Netw Open 7:e2446615 (2024)",
        home="Google Research; github.com/google-research-datasets/scin",
        note="It requires attribution and forbids to identify contributors or to link their images to other data.",
    )

    kind: Literal["scin"] = "scin"
    path: Path = Field(description=f"the folder with {CASES}, {LABELS} and images/")
    images: str = Field(default="", description="subfolder or tar below path with the images; empty: anywhere")
    format: TableFormat = TableFormat()
    min_matched: Share = Field(default=0.9, description=f"share of cases that {LABELS} must know")
    min_weight: Share = Field(
        default=0.5, description="weight that the first condition of a case needs; a case without it is unlabelled"
    )
    skin_type: Literal["self", "dermatologist"] = Field(default="self", description="who stated the skin type")

    def read(self, report: ReadReport) -> pd.DataFrame:
        """One row an image; the case is its lesion, and age is the middle of the case's age group."""
        cases = self._cases(report)
        images = cases.melt(
            id_vars=[name for name in cases if name not in IMAGES], value_vars=list(IMAGES), value_name="file"
        ).dropna(subset="file")
        names = [PurePosixPath(name).stem for name in images["file"]]
        paths = locate(names, find_images(self.path, self.images), "images/{}.png", report)
        table = translate(images, {"other_or_unspecified": UNKNOWN, "intersex": UNKNOWN})
        table = table.assign(image_id=names, path=paths, source="scin", lesion_id=images["case_id"])
        return conform(table.drop(columns=["case_id", "file", "variable"]), str(self.path / CASES), report)

    def _cases(self, report: ReadReport) -> pd.DataFrame:
        """One row a case: case_id, paths of images, diagnosis, age, sex, site, skin_type."""
        for name in (CASES, LABELS):
            if not find_table(self.path / name).is_file():
                raise DataError(
                    f"dataset.path = {self.path}: {name} is missing; put {CASES} and {LABELS} there, and images/"
                )
        fixed = ["case_id", "age_group", "sex_at_birth", *IMAGES]
        skin = SKIN_TYPES[self.skin_type]
        optional = [*SITES, SKIN_TYPES["self"]]
        cases = read_table(self.path / CASES, fixed, report, form=self.format, optional=optional, root=self.path)
        labels = read_table(
            self.path / LABELS, ["case_id", WEIGHTS], report, form=self.format, root=self.path,
            optional=[SKIN_TYPES["dermatologist"]],
        )  # fmt: skip
        cases = join_optional(cases, labels, "case_id", name=LABELS, minimum=self.min_matched, report=report)
        diagnoses = [_first_condition(cell, self.min_weight) for cell in cases[WEIGHTS]]
        unsure = sum(
            diagnosis is None and bool(_weights(cell))
            for diagnosis, cell in zip(diagnoses, cases[WEIGHTS], strict=True)
        )
        if unsure:
            report.warn(
                "unsure_labels", unsure,
                f"{unsure} cases have no condition with a weight of dataset.min_weight {self.min_weight:g}; they count "
                "as unlabelled",
            )  # fmt: skip
        return pd.DataFrame(
            {
                "case_id": cases["case_id"],
                **{name: cases[name] for name in IMAGES},
                "diagnosis": diagnoses,
                "age": cases["age_group"].map(_middle, na_action="ignore"),
                "sex": cases["sex_at_birth"],
                "site": _sites(cases),
                "skin_type": _skin_types(cases, skin),
            }
        )


def recognise(look: FirstLook) -> Recognition | None:
    """By its table."""
    table = look.published_table((CASES,), ("case_id", "age_group", *IMAGES))
    return Recognition(Certainty.PUBLISHED, f"{table} is that of SCIN") if table else None


def _weights(cell: object) -> dict[str, float]:
    """The weights of conditions; empty where the cell is no such mapping."""
    try:
        weights = ast.literal_eval(str(cell))
        return {str(name): float(weight) for name, weight in weights.items()} if isinstance(weights, dict) else {}
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return {}


def _first_condition(cell: object, least: float) -> str | None:
    """The one condition with the largest weight; None below `least` and where two have it."""
    weights = _weights(cell)
    largest = max(weights.values(), default=0.0)
    names = [name for name, weight in weights.items() if weight == largest]
    return names[0] if len(names) == 1 and largest >= least else None


def _middle(group: str) -> str | None:
    """Years at the middle of an age group such as AGE_30_TO_39; its lower edge where it has no upper one."""
    years = [int(number) for number in re.findall(r"[0-9]+", group)]
    if not years:
        return None
    return f"{(years[0] + years[1] + 1) / 2:g}" if len(years) > 1 else str(years[0])


def _sites(cases: pd.DataFrame) -> pd.Series:
    """The site of a case that names one; unknown where it names none or several."""
    named = {column: cases[column].fillna("").str.upper().eq("YES") for column in SITES if column in cases}
    if not named:
        return pd.Series(UNKNOWN, index=cases.index)
    marks = pd.DataFrame(named)
    return marks.idxmax(axis="columns").map(SITES).where(marks.sum(axis="columns") == 1, UNKNOWN)


def _skin_types(cases: pd.DataFrame, column: str) -> pd.Series:
    """The digit of FST1 to FST6; null where nothing is identified."""
    if column not in cases:
        return pd.Series(None, index=cases.index, dtype="object")
    return cases[column].astype("str").str.extract(r"FST([1-6])", expand=False).astype("object")
