"""Acceptance of a data set as a whole, by Great Expectations, with its Data Docs.

The rules on single rows are in `components.data.records` and `quarantine`; here are statements about all rows.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, TypedDict

import pandas as pd

from components.base.files import whole
from components.validation.data_profile import DataProfile, known, read_reference
from components.validation.settings import AcceptanceLimits

if TYPE_CHECKING:
    from great_expectations import ExpectationSuite
    from great_expectations.data_context.data_context.ephemeral_data_context import EphemeralDataContext

    from components.validation.data_docs import ExpectationLine

MEASURE_PHRASES = {  # of ImageFacts
    "luma": "brightness (luma, 0 to 255)",
    "dark": "share of black pixels",
    "bright": "share of white pixels",
    "saturation": "saturation (0 grey, 1 pure colour)",
    "sharpness": "sharpness (variance of the Laplacian)",
    "vignette": "share of black border",
}
PATIENT = ("age", "sex", "site")  # few data sets have skin_type: it is compared with the reference, not required
Unit = Literal["share", ""]

NAMED_SOURCES, LONGEST_TITLE = 4, 100  # data sets, characters: of a title

SLACK = 1e-5  # relative: a profile keeps six digits, and a value on the limit has not drifted
SIZE, PATIENTS, IMAGES, DRIFT = "size", "patients", "pictures", "drift"
TOPICS = {
    SIZE: (
        "Size",
        "A group stays together when images are split: a patient, or a lesion and its copies.",
    ),
    PATIENTS: ("Patient data", "Without them, errors in some groups of patients cannot be found."),
    IMAGES: ("Images", "A few unusual images do no harm; many indicate an error in collection or conversion."),
    DRIFT: (
        "Compared with the accepted version",
        "Medians are expected inside the range of the middle 90 % of that version's images.",
    ),
}


class ExpectationResult(TypedDict):
    """One expectation and its outcome."""

    expectation: str  # Great Expectations' name
    measure: str  # what was measured, such as `groups of class mel`
    expected: str
    observed: float | None
    success: bool
    fix: str


def accept(
    table: pd.DataFrame,
    classes: Sequence[str],
    docs: Path,
    *,
    min_groups: int,
    max_missing: float | None,
    limits: AcceptanceLimits | None = None,
    reference: Mapping[str, Any] | None = None,
) -> list[ExpectationResult]:
    """Check every expectation on the accepted rows, and write the Data Docs, `docs/index.html`.

    Args:
        table: at least one row, with Accepted's columns, the measures of ImageFacts and `group`.
        classes: the labels that a model learns.
        docs: folder, replaced as a whole.
        min_groups: of each class, lesions or patients.
        max_missing: share of rows in [0, 1], for age, sex and site each; None: not checked.
        limits: for the images; None: the defaults, for dermoscopy.
        reference: `data_profile.profile` of an accepted version; None: no comparison.

    Returns:
        The outcomes, always in the same order.

    Raises:
        DataError: the reference cannot be compared with this data set.
    """
    gx = _great_expectations()
    before = None if reference is None else read_reference(reference, classes)
    name, limits = _title(table["source"]), limits or AcceptanceLimits()
    expectations = list(_expectations(gx, classes, min_groups, max_missing, limits, before))
    for number, expectation in enumerate(expectations, start=1):
        expectation.description = f"{number}. {expectation.notes}"  # shown on GX's page in place of its own wording
    suite = gx.ExpectationSuite(name, expectations=expectations)
    with TemporaryDirectory() as site:
        results = _run(gx, _context(gx, Path(site)), suite, name, _prepare(table, classes))
        outcomes = [_outcome(result) for result in results]
        (page,) = Path(site).glob("validations/**/*.html")
        _write(docs, page.read_text("utf-8"), name, results, gx.__version__)
    return outcomes


def describe(outcome: ExpectationResult) -> str:
    """One line: what was measured, its value, what was expected and how to fix it."""
    return (
        f"{outcome['measure']}: {_number(outcome['observed'])}, expected {outcome['expected']} "
        f"({outcome['expectation']}); {outcome['fix']}"
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
    """Imported only when it is used: it takes 3 s, warns on import, and reads its analytics switch then."""
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import great_expectations as gx
    return gx


def _title(sources: pd.Series) -> str:
    """The suite's name, `SYNTHETIC acceptance`; GX uses it as a file name."""
    names = sorted(sources.unique())
    title = " and ".join(names) if len(names) <= NAMED_SOURCES else f"{len(names)} sources"
    return re.sub(r"[^\w -]", "_", f"{title[:LONGEST_TITLE]} acceptance")


def _context(gx: ModuleType, site: Path) -> EphemeralDataContext:
    """An in-memory context whose only output is the site in the folder `site`."""
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    for name in list(context.list_data_docs_sites()):  # the default site, in a temporary folder
        context.delete_data_docs_site(name)
    place = {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(site.resolve())}
    index = {"class_name": "DefaultSiteIndexBuilder"}
    config = {"class_name": "SiteBuilder", "store_backend": place, "site_index_builder": index}
    sections = {"expectations": "None", "profiling": "None"}  # the results name every expectation
    context.add_data_docs_site("docs", {**config, "site_section_builders": sections, "show_how_to_buttons": False})
    return context  # type: ignore[no-any-return]  # GX is untyped


def _prepare(table: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """Only the columns that expectations use, since Great Expectations hashes every cell.

    `unknown` becomes missing. The aspect ratio has a column, and so has each class: 1 for its rows, 0 for rows of other
    classes, missing for unlabelled rows; its mean is the class's share.
    """
    sides, labels = table[["width", "height"]].astype("float64"), table["label"]
    # without any label, every share is 0
    labelled = labels.notna() if labels.notna().any() else pd.Series(True, index=table.index)
    shares = {_share_of(name): (labels == name).astype("float64").where(labelled) for name in classes}
    columns = table[["label", "group", "sha256", *MEASURE_PHRASES]]
    return columns.assign(**known(table), aspect=sides.max(axis=1) / sides.min(axis=1), **shares)


def _share_of(name: str) -> str:
    return f"is {name}"


def _expectations(
    gx: ModuleType,
    classes: Sequence[str],
    min_groups: int,
    max_missing: float | None,
    limits: AcceptanceLimits,
    before: DataProfile | None,
) -> Iterator[Any]:
    """The suite, in the order of the outcomes."""
    expect = gx.expectations
    yield from _size(expect, classes, min_groups, limits)
    if max_missing is not None and max_missing < 1:
        yield from (_has_values(expect, column, 1 - max_missing) for column in PATIENT)
    yield from _images(expect, limits)
    if before is not None:
        yield from _unchanged(expect, classes, limits.max_share_drift, before)


def _size(expect: ModuleType, classes: Sequence[str], min_groups: int, limits: AcceptanceLimits) -> Iterator[Any]:
    fix = "add images, or map fewer classes (labels.schemes, params.yaml)"
    least = len(classes) * min_groups
    yield expect.ExpectTableRowCountToBeBetween(min_value=least, **_texts(SIZE, "images", least, None, fix=fix))
    for name in classes:
        fix = f"add lesions of {name}, map it to another class (labels.schemes), or lower "
        yield expect.ExpectColumnUniqueValueCountToBeBetween(
            column="group",
            min_value=min_groups,
            row_condition=expect.row_conditions.Column("label") == name,
            **_texts(
                SIZE,
                f"groups of class {name}",
                min_groups,
                None,
                fix=f"{fix}validate.min_groups_per_class (params.yaml)",
            ),
        )
    least_distinct = limits.min_distinct
    fix = f"take out the copies; {_limit('min_distinct')}"
    yield expect.ExpectColumnProportionOfUniqueValuesToBeBetween(
        column="sha256",
        min_value=least_distinct,
        **_texts(SIZE, "share of distinct files", least_distinct, None, fix=fix, unit="share"),
    )


def _has_values(expect: ModuleType, column: str, least: float) -> Any:
    fix = (
        f"fill {column} in the data set's metadata; where it was not recorded, raise "
        "validate.max_missing_share, or set it to null, which requires none (params.yaml)"
    )
    words = _texts(PATIENTS, f"share of rows with {column}", least, None, fix=fix, unit="share")
    return expect.ExpectColumnProportionOfNonNullValuesToBeBetween(column=column, min_value=least, **words)


def _images(expect: ModuleType, limits: AcceptanceLimits) -> Iterator[Any]:
    """A share of at least limits.mostly of the images within each limit."""
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
        fix = f"inspect the images outside; {_limit(key)}"
        words = _texts(IMAGES, f"share of images {what}", limits.mostly, None, fix=fix, unit="share")
        yield expect.ExpectColumnValuesToBeBetween(
            column=column, min_value=low, max_value=high, mostly=limits.mostly, **words
        )


def _limit(key: str) -> str:
    return f"the limit is validate.limits.{key} (params.yaml)"


def _unchanged(expect: ModuleType, classes: Sequence[str], drift: float, before: DataProfile) -> Iterator[Any]:
    """Class shares, missing shares and medians as in the accepted version, within limits."""
    for name in classes:
        low, high = _widened(max(before.classes[name] - drift, 0), min(before.classes[name] + drift, 1))
        fix = f"{_CHANGED} raise validate.limits.max_share_drift{_ONCE}"
        words = _texts(DRIFT, f"share of class {name}", low, high, fix=fix, unit="share")
        yield expect.ExpectColumnMeanToBeBetween(column=_share_of(name), min_value=low, max_value=high, **words)
    for name, share in before.missing.items():
        least, _ = _widened(max(1 - share - drift, 0), 1)
        fix = f"fill {name} in the data set's metadata, or raise validate.limits.max_share_drift{_ONCE}"
        measure = f"share of rows with {name.replace('_', ' ')}, as before"
        words = _texts(DRIFT, measure, least, None, fix=fix, unit="share")
        yield expect.ExpectColumnProportionOfNonNullValuesToBeBetween(column=name, min_value=least, **words)
    yield from (_median(expect, name, before.quantiles[name]) for name in MEASURE_PHRASES if name in before.quantiles)


_CHANGED = "find out what changed (dermflow data diff); if it is intended,"
_ONCE = ", or accept this version without validate.reference (params.yaml)"


def _median(expect: ModuleType, name: str, quantiles: Mapping[str, float]) -> Any:
    """Inside the range of the middle 90 % of the accepted version's images."""
    low, high = _widened(quantiles["q05"], quantiles["q95"])
    fix = f"{_CHANGED} set validate.reference to null for this version (params.yaml)"
    words = _texts(DRIFT, f"median {MEASURE_PHRASES[name]}", low, high, fix=fix)
    return expect.ExpectColumnMedianToBeBetween(column=name, min_value=low, max_value=high, **words)


def _widened(low: float, high: float) -> tuple[float, float]:
    return low * (1 - SLACK), high * (1 + SLACK)


def _texts(
    topic: str, measure: str, low: float | None, high: float | None, *, fix: str, unit: Unit = ""
) -> dict[str, Any]:
    """`notes` for GX's own page; `meta` for ExpectationResult and for our page."""
    expected, shown = _between(low, high), _between(low, high, unit)
    meta = {"topic": topic, "measure": measure, "unit": unit, "expected": expected, "shown": shown, "fix": fix}
    return {"notes": f"{measure}: {shown}; {fix}", "meta": meta}


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
        result_format={"result_format": "BASIC", "partial_unexpected_count": 0},  # no list of rows, which would be slow
    )
    outcome = context.checkpoints.add(checkpoint).run(batch_parameters={"dataframe": table})
    (validation,) = outcome.run_results.values()
    order = [dict(expectation.meta or {})["measure"] for expectation in suite.expectations]
    return sorted(validation.results, key=lambda result: order.index(_meta(result)["measure"]))


def _meta(result: Any) -> dict[str, str]:
    return dict(result.expectation_config.meta)


def _outcome(result: Any) -> ExpectationResult:
    meta = _meta(result)
    if result.exception_info.get("raised_exception"):
        raise RuntimeError(f"{meta['measure']}: {result.exception_info['exception_message']}")
    return ExpectationResult(
        expectation=result.expectation_config.type,
        measure=meta["measure"],
        expected=meta["expected"],
        observed=_observed(dict(result.result)),
        success=bool(result.success),
        fix=meta["fix"],
    )


def _observed(result: dict[str, Any]) -> float | None:
    """The observed value; for an expectation on single values, the share of them that meet it."""
    percent = result.get("unexpected_percent")
    value = result["observed_value"] if percent is None else 1 - percent / 100
    return None if value is None or pd.isna(value) else float(value)


def _write(docs: Path, page: str, name: str, results: Sequence[Any], version: str) -> None:
    """Great Expectations' page in our form, as the only file of its folder."""
    from components.validation.data_docs import rewrite  # here, since settings and tables need no page

    html = rewrite(page, name, [_line(result) for result in results], version)
    with whole(docs) as folder:
        folder.mkdir()
        (folder / "index.html").write_text(html, "utf-8")


def _line(result: Any) -> ExpectationLine:
    from components.validation.data_docs import ExpectationLine, ExpectationTopic

    meta, observed = _meta(result), _observed(dict(result.result))
    found = _number(observed, meta["unit"])
    return ExpectationLine(
        topic=ExpectationTopic(*TOPICS[meta["topic"]]),
        measure=meta["measure"],
        found=found,
        expected=meta["shown"],
        fix=meta["fix"],
        success=bool(result.success),
    )
