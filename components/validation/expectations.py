"""Is this data set, as a whole, one to learn from? Great Expectations answers, and its Data Docs show why.

Single rows are the contract's matter (`records`, `quarantine`); here stand statements about all of them.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, Self, TypedDict

import pandas as pd
from pydantic import Field, NonNegativeFloat, model_validator

from components.base.config import Frozen
from components.base.files import whole
from components.validation.data_profile import Profile, Share, known, read_reference

if TYPE_CHECKING:
    from great_expectations import ExpectationSuite
    from great_expectations.data_context.data_context.ephemeral_data_context import EphemeralDataContext

    from components.validation.data_docs import Line

MEASURES = {  # of scan.Facts
    "luma": "brightness (luma, 0 to 255)",
    "dark": "share of black pixels",
    "bright": "share of white pixels",
    "saturation": "saturation (0 grey, 1 pure colour)",
    "sharpness": "sharpness (variance of the Laplacian)",
    "vignette": "share of black border",
}
PATIENT = ("age", "sex", "site")  # skin_type is told by few data sets: it is compared, not demanded
Unit = Literal["share", ""]

SLACK = 1e-5  # relative: a profile keeps six digits, and what is on the edge has not drifted
SIZE, PATIENTS, PICTURES, DRIFT = "size", "patients", "pictures", "drift"
TOPICS = {
    SIZE: (
        "Enough to learn from",
        "A group is what stays together when images are split: a patient, or a lesion and its copies.",
    ),
    PATIENTS: ("What is told of the patients", "Without it nobody can see whether a model fails for some of them."),
    PICTURES: ("The pictures", "A few odd ones do no harm; many mean that something went wrong on the way here."),
    DRIFT: (
        "Compared with the accepted version",
        "Medians are expected where the middle 90 % of that version's images stand.",
    ),
}


class Limits(Frozen):
    """What the pictures of a data set must be like; defaults hold for dermoscopy."""

    mostly: Share = Field(default=0.99, description="of images: so many must stand within each of these limits")
    max_aspect: float = Field(
        default=3.0, ge=1, description="longer side by shorter; a centre crop of a longer strip sees less than a third"
    )
    luma: tuple[NonNegativeFloat, NonNegativeFloat] = Field(
        default=(10.0, 245.0), description="mean, of 255; beyond, an image is black or blank"
    )
    max_dark: Share = Field(default=0.6, description="of an image's pixels: black, the vignette's included")
    max_bright: Share = Field(default=0.5, description="of an image's pixels: white, as flash and glare make them")
    saturation: tuple[Share, Share] = Field(
        default=(0.02, 0.8), description="mean chroma; below, an image has no colour"
    )
    min_sharpness: NonNegativeFloat = Field(
        default=3.0, description="variance of the Laplacian on 8-bit luma; below, there is no edge in the image"
    )
    max_vignette: Share = Field(default=0.6, description="of an image's pixels: black border")
    min_distinct: Share = Field(default=0.5, description="of files; below, the data set was probably unpacked twice")
    max_share_drift: Share = Field(
        default=0.05, description="between class shares here and in validate.reference; missing shares may rise by it"
    )

    @model_validator(mode="after")
    def _ranges_are_ranges(self) -> Self:
        for name, (low, high) in {"luma": self.luma, "saturation": self.saturation}.items():
            if low > high:
                raise ValueError(f"{name} is [{low:g}, {high:g}], expected the lower limit first")
        return self


class Finding(TypedDict):
    """One expectation and how it came out."""

    expectation: str  # Great Expectations' name
    measure: str  # what was looked at, such as `groups of class mel`
    expected: str
    observed: float | None
    success: bool
    mend: str


def accept(
    table: pd.DataFrame,
    classes: Sequence[str],
    min_groups: int,
    max_missing: float | None,
    docs: Path,
    limits: Limits | None = None,
    reference: Mapping[str, Any] | None = None,
) -> list[Finding]:
    """Hold every expectation against the accepted rows and write the Data Docs, `docs/index.html`; fixed order.

    `table` has at least one row: Accepted's columns, scan.Facts' measures and `group`; a data set called
    SYNTHETIC is so named on the page. `max_missing` None asks for no word about the patients. `reference` is
    the `profile.profile` of an accepted version. Raises DataError for a reference that cannot be compared.
    """
    gx = _great_expectations()
    before = None if reference is None else read_reference(reference, classes)
    name, limits = _title(table["source"]), limits or Limits()
    expectations = list(_expectations(gx, classes, min_groups, max_missing, limits, before))
    for number, expectation in enumerate(expectations, start=1):
        expectation.description = f"{number}. {expectation.notes}"  # stands on the page for GX's own wording
    suite = gx.ExpectationSuite(name, expectations=expectations)
    with TemporaryDirectory() as site:
        results = _run(gx, _context(gx, Path(site)), suite, name, _prepare(table, classes))
        findings = [_finding(result) for result in results]
        (page,) = Path(site).glob("validations/**/*.html")
        _write(docs, page.read_text("utf-8"), name, results, gx.__version__)
    return findings


def describe(finding: Finding) -> str:
    """One line: what was looked at, what was seen, what was expected and where to mend it."""
    return (
        f"{finding['measure']}: {_number(finding['observed'])}, expected {finding['expected']} "
        f"({finding['expectation']}); {finding['mend']}"
    )


def _number(value: float | None, unit: str = "") -> str:
    if value is None:
        return "nothing"
    if unit == "share":
        percent = f"{100 * value:.4g}"
        return "over 99.99 %" if percent == "100" and value < 1 else f"{percent} %"
    return str(int(value)) if value == int(value) else f"{value:.4g}"


def _between(low: float | None, high: float | None, unit: str = "") -> str:
    """`at least 3`, `at most 0.5`, `10 to 245`."""
    if high is None:
        return f"at least {_number(low, unit)}"
    return f"at most {_number(high, unit)}" if low is None else f"{_number(low, unit)} to {_number(high, unit)}"


def _great_expectations() -> ModuleType:
    """Imported late: it takes 3 s, warns on import, and reads its switch for analytics then."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import great_expectations as gx
    return gx


def _title(sources: pd.Series) -> str:
    """The suite's name, which becomes that of a file: `SYNTHETIC acceptance`."""
    return re.sub(r"[^\w -]", "_", f"{' and '.join(sorted(sources.unique()))} acceptance")


def _context(gx: ModuleType, site: Path) -> EphemeralDataContext:
    """A context that lives in memory and shows itself in `site` alone."""
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    for name in list(context.list_data_docs_sites()):  # a default one in a new folder under /tmp
        context.delete_data_docs_site(name)
    place = {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(site.resolve())}
    index = {"class_name": "DefaultSiteIndexBuilder"}
    config = {"class_name": "SiteBuilder", "store_backend": place, "site_index_builder": index}
    sections = {"expectations": "None", "profiling": "None"}  # the results name every expectation
    context.add_data_docs_site("docs", {**config, "site_section_builders": sections, "show_how_to_buttons": False})
    return context  # type: ignore[no-any-return]  # GX is untyped


def _prepare(table: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """What the expectations look at and no more, since Great Expectations hashes every cell.

    `unknown` is missing, the sides' ratio has a column, and so has each class: 1 for its rows, 0 for those of
    others, nothing for the unlabelled; its mean is the class's share.
    """
    sides, labels = table[["width", "height"]].astype("float64"), table["label"]
    labelled = labels.notna() if labels.notna().any() else pd.Series(True, index=table.index)  # else: no share at all
    shares = {_share_of(name): (labels == name).astype("float64").where(labelled) for name in classes}
    kept = table[["label", "group", "sha256", *MEASURES]]
    return kept.assign(**known(table), aspect=sides.max(axis=1) / sides.min(axis=1), **shares)


def _share_of(name: str) -> str:
    return f"is {name}"


def _expectations(
    gx: ModuleType,
    classes: Sequence[str],
    min_groups: int,
    max_missing: float | None,
    limits: Limits,
    before: Profile | None,
) -> Iterator[Any]:
    """The suite, in the order of the findings."""
    expect = gx.expectations
    yield from _enough(expect, classes, min_groups, limits)
    if max_missing is not None and max_missing < 1:
        yield from (_is_known(expect, column, 1 - max_missing) for column in PATIENT)
    yield from _pictures(expect, limits)
    if before is not None:
        yield from _like_before(expect, classes, limits.max_share_drift, before)


def _enough(expect: ModuleType, classes: Sequence[str], min_groups: int, limits: Limits) -> Iterator[Any]:
    mend = "add images, or map fewer classes (labels.schemes, params.yaml)"
    least = len(classes) * min_groups
    yield expect.ExpectTableRowCountToBeBetween(min_value=least, **_say(SIZE, "images", least, None, mend))
    for name in classes:
        mend = f"add lesions of {name}, map it to another class (labels.schemes), or lower "
        yield expect.ExpectColumnUniqueValueCountToBeBetween(
            column="group",
            min_value=min_groups,
            row_condition=expect.row_conditions.Column("label") == name,
            **_say(
                SIZE,
                f"groups of class {name}",
                min_groups,
                None,
                f"{mend}validate.min_groups_per_class (params.yaml)",
            ),
        )
    least_distinct = limits.min_distinct
    mend = f"take out the copies; {_limit('min_distinct')}"
    yield expect.ExpectColumnProportionOfUniqueValuesToBeBetween(
        column="sha256",
        min_value=least_distinct,
        **_say(SIZE, "share of distinct files", least_distinct, None, mend, "share"),
    )


def _is_known(expect: ModuleType, column: str, least: float) -> Any:
    mend = (
        f"fill {column} in the data set's metadata; where nobody wrote it down, raise "
        "validate.max_missing_share, or set it to null, which asks for none (params.yaml)"
    )
    words = _say(PATIENTS, f"share of rows with {column}", least, None, mend, "share")
    return expect.ExpectColumnProportionOfNonNullValuesToBeBetween(column=column, min_value=least, **words)


def _pictures(expect: ModuleType, limits: Limits) -> Iterator[Any]:
    """Nearly every image within each limit."""
    (dark, light), (pale, vivid) = limits.luma, limits.saturation
    rules: list[tuple[str, float | None, float | None, str, str]] = [
        ("aspect", None, limits.max_aspect, f"at most {limits.max_aspect:g} times as long as wide", "max_aspect"),
        ("luma", dark, light, f"neither black nor blank (mean luma {dark:g} to {light:g} of 255)", "luma"),
        ("dark", None, limits.max_dark, f"at most {100 * limits.max_dark:.4g} % of whose pixels are black", "max_dark"),
        (
            "bright",
            None,
            limits.max_bright,
            f"at most {100 * limits.max_bright:.4g} % of whose pixels are white",
            "max_bright",
        ),
        ("saturation", pale, vivid, f"in colour (mean saturation {pale:g} to {vivid:g} of 1)", "saturation"),
        (
            "sharpness",
            limits.min_sharpness,
            None,
            f"with edges (sharpness at least {limits.min_sharpness:g})",
            "min_sharpness",
        ),
        (
            "vignette",
            None,
            limits.max_vignette,
            f"with at most {100 * limits.max_vignette:.4g} % black border",
            "max_vignette",
        ),
    ]
    for column, low, high, what, key in rules:
        mend = f"look at the images that are not; {_limit(key)}"
        words = _say(PICTURES, f"share of images {what}", limits.mostly, None, mend, "share")
        yield expect.ExpectColumnValuesToBeBetween(
            column=column, min_value=low, max_value=high, mostly=limits.mostly, **words
        )


def _limit(key: str) -> str:
    return f"the limit is validate.limits.{key} (params.yaml)"


def _like_before(expect: ModuleType, classes: Sequence[str], drift: float, before: Profile) -> Iterator[Any]:
    """Class shares, missing shares and medians as in the accepted version, within limits."""
    for name in classes:
        low, high = _span(max(before.classes[name] - drift, 0), min(before.classes[name] + drift, 1))
        mend = f"{_CHANGED} raise validate.limits.max_share_drift{_ONCE}"
        words = _say(DRIFT, f"share of class {name}", low, high, mend, "share")
        yield expect.ExpectColumnMeanToBeBetween(column=_share_of(name), min_value=low, max_value=high, **words)
    for name, share in before.missing.items():
        least, _ = _span(max(1 - share - drift, 0), 1)
        mend = f"fill {name} in the data set's metadata, or raise validate.limits.max_share_drift{_ONCE}"
        words = _say(DRIFT, f"share of rows with {name.replace('_', ' ')}, as before", least, None, mend, "share")
        yield expect.ExpectColumnProportionOfNonNullValuesToBeBetween(column=name, min_value=least, **words)
    yield from (_median(expect, name, before.quantiles[name]) for name in MEASURES if name in before.quantiles)


_CHANGED = "find out what changed (dermflow data diff); if it is meant,"
_ONCE = ", or accept this version without validate.reference (params.yaml)"


def _median(expect: ModuleType, name: str, quantiles: Mapping[str, float]) -> Any:
    """Where the middle 90 % of the accepted version's images stand."""
    low, high = _span(quantiles["q05"], quantiles["q95"])
    mend = f"{_CHANGED} set validate.reference to null for this version (params.yaml)"
    words = _say(DRIFT, f"median {MEASURES[name]}", low, high, mend)
    return expect.ExpectColumnMedianToBeBetween(column=name, min_value=low, max_value=high, **words)


def _span(low: float, high: float) -> tuple[float, float]:
    return low * (1 - SLACK), high * (1 + SLACK)


def _say(topic: str, measure: str, low: float | None, high: float | None, mend: str, unit: Unit = "") -> dict[str, Any]:
    """`notes` is what the Data Docs say, `meta` what a Finding says and what our page is made of."""
    expected, shown = _between(low, high), _between(low, high, unit)
    meta = {"topic": topic, "measure": measure, "unit": unit, "expected": expected, "shown": shown, "mend": mend}
    return {"notes": f"{measure}: {shown}; {mend}", "meta": meta}


def _run(
    gx: ModuleType, context: EphemeralDataContext, suite: ExpectationSuite, name: str, table: pd.DataFrame
) -> list[Any]:
    """Validate the table and build Great Expectations' site; the results in the suite's order."""
    batch = context.data_sources.add_pandas(name).add_dataframe_asset("accepted rows")
    definition = gx.ValidationDefinition(
        name=name, data=batch.add_batch_definition_whole_dataframe("all"), suite=context.suites.add(suite)
    )
    checkpoint = gx.Checkpoint(
        name=name,
        validation_definitions=[context.validation_definitions.add(definition)],
        actions=[gx.checkpoint.UpdateDataDocsAction(name="docs", site_names=["docs"])],
        result_format={"result_format": "BASIC", "partial_unexpected_count": 0},  # no list of rows, which is slow
    )
    outcome = context.checkpoints.add(checkpoint).run(batch_parameters={"dataframe": table})
    (validation,) = outcome.run_results.values()
    order = [dict(expectation.meta or {})["measure"] for expectation in suite.expectations]
    return sorted(validation.results, key=lambda result: order.index(_meta(result)["measure"]))


def _meta(result: Any) -> dict[str, str]:
    return dict(result.expectation_config.meta)


def _finding(result: Any) -> Finding:
    said = _meta(result)
    if result.exception_info.get("raised_exception"):
        raise RuntimeError(f"{said['measure']}: {result.exception_info['exception_message']}")
    return Finding(
        expectation=result.expectation_config.type,
        measure=said["measure"],
        expected=said["expected"],
        observed=_observed(dict(result.result)),
        success=bool(result.success),
        mend=said["mend"],
    )


def _observed(result: dict[str, Any]) -> float | None:
    """A number: the observed value, or of a rule about single values the share that keeps it."""
    percent = result.get("unexpected_percent")
    value = result["observed_value"] if percent is None else 1 - percent / 100
    return None if value is None or pd.isna(value) else float(value)


def _write(docs: Path, page: str, name: str, results: Sequence[Any], version: str) -> None:
    """Great Expectations' page in our form, alone in its folder: it needs nothing beside it."""
    from components.validation.data_docs import rewrite  # late: who reads settings needs no page

    html = rewrite(page, name, [_line(result) for result in results], version)
    with whole(docs) as folder:
        folder.mkdir()
        (folder / "index.html").write_text(html, "utf-8")


def _line(result: Any) -> Line:
    from components.validation.data_docs import Line, Topic

    said, observed = _meta(result), _observed(dict(result.result))
    found = _number(observed, said["unit"])
    return Line(
        Topic(*TOPICS[said["topic"]]), said["measure"], found, said["shown"], said["mend"], bool(result.success)
    )
