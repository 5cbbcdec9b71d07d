"""Is this data set, as a whole, one to learn from? Great Expectations answers, and its Data Docs show why.

Single rows are the contract's matter (`records`, `quarantine`); here stand statements about all of them.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypedDict

import pandas as pd

from components.files import whole

if TYPE_CHECKING:
    from great_expectations import ExpectationSuite
    from great_expectations.data_context.data_context.ephemeral_data_context import EphemeralDataContext

MAX_ASPECT = 3.0  # longer side by shorter: of a longer strip, a centre crop sees less than a third
MOSTLY = 0.99  # of rows
LUMA = (10.0, 245.0)  # of 255: beyond, an image is black or blank
MIN_DISTINCT = 0.5  # of files: below, the data set was probably unpacked twice
HERE = "look at the images; the limit stands in components/expectations.py"


class Finding(TypedDict):
    """One expectation and how it came out."""

    expectation: str  # Great Expectations' name
    measure: str  # what was looked at, such as `groups of class mel`
    expected: str
    observed: float | None
    success: bool
    mend: str


def accept(
    table: pd.DataFrame, classes: Sequence[str], min_groups: int, max_missing: float, docs: Path
) -> list[Finding]:
    """Hold every expectation against the accepted rows and write the Data Docs folder; fixed order.

    `table` has at least one row and Accepted's columns, `luma` in [0, 255] and `group`; a data set called
    SYNTHETIC is so named on every page.
    """
    gx = _great_expectations()
    name = _title(table["source"])
    with whole(docs) as site:
        context = _context(gx, site)
        suite = context.suites.add(gx.ExpectationSuite(name))
        for expectation in _expectations(gx, classes, min_groups, max_missing):
            suite.add_expectation(expectation)
        results = _run(gx, context, suite, name, _prepare(table))
    return [_finding(result) for result in results]


def describe(finding: Finding) -> str:
    """One line: what was looked at, what was seen, what was expected and where to mend it."""
    return (
        f"{finding['measure']}: {finding['observed']:g}, expected {finding['expected']} "
        f"({finding['expectation']}); {finding['mend']}"
    )


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
    context.add_data_docs_site("docs", {**config, "show_how_to_buttons": False})
    return context  # type: ignore[no-any-return]  # GX is untyped


def _prepare(table: pd.DataFrame) -> pd.DataFrame:
    """The rows as the expectations see them: `unknown` is missing, and the sides' ratio has a column."""
    sides = table[["width", "height"]]
    known = {name: table[name].where(table[name] != "unknown") for name in ("sex", "site")}
    return table.assign(aspect=sides.max(axis=1) / sides.min(axis=1), **known)


def _expectations(gx: ModuleType, classes: Sequence[str], min_groups: int, max_missing: float) -> list[Any]:
    """The suite, in the order of the findings."""
    expect, enough = gx.expectations, len(classes) * min_groups
    rows = _say("rows", f"at least {enough}", "add images, or map fewer classes (labels.schemes, params.yaml)")
    distinct = _say("share of distinct files", f"at least {MIN_DISTINCT:g}", HERE)
    return [
        expect.ExpectTableRowCountToBeBetween(min_value=enough, **rows),
        *(_class_has_groups(expect, name, min_groups) for name in classes),
        *(_is_known(expect, column, 1 - max_missing) for column in ("age", "sex", "site")),
        _mostly(expect, "aspect", (1.0, MAX_ASPECT), "longer side by shorter"),
        _mostly(expect, "luma", LUMA, "mean luma"),
        expect.ExpectColumnProportionOfUniqueValuesToBeBetween(column="sha256", min_value=MIN_DISTINCT, **distinct),
    ]


def _class_has_groups(expect: ModuleType, name: str, least: int) -> Any:
    mend = f"add lesions of {name}, map it to another class (labels.schemes), or lower "
    return expect.ExpectColumnUniqueValueCountToBeBetween(
        column="group",
        min_value=least,
        row_condition=expect.row_conditions.Column("label") == name,
        **_say(
            f"groups of class {name}",
            f"at least {least}",
            f"{mend}validate.min_groups_per_class (params.yaml)",
        ),
    )


def _is_known(expect: ModuleType, column: str, least: float) -> Any:
    words = _say(f"share of rows with {column}", f"at least {least:g}", "validate.max_missing_share (params.yaml)")
    return expect.ExpectColumnProportionOfNonNullValuesToBeBetween(column=column, min_value=least, **words)


def _mostly(expect: ModuleType, column: str, limits: tuple[float, float], what: str) -> Any:
    """Nearly every row within limits: quantiles would say it too, but yield what GX 1.24 cannot store."""
    low, high = limits
    words = _say(f"share of images with {what} {low:g} to {high:g}", f"at least {MOSTLY:g}", HERE)
    return expect.ExpectColumnValuesToBeBetween(column=column, min_value=low, max_value=high, mostly=MOSTLY, **words)


def _say(measure: str, expected: str, mend: str) -> dict[str, Any]:
    """`notes` is what the Data Docs say, `meta` what a Finding says."""
    meta = {"measure": measure, "expected": expected, "mend": mend}
    return {"notes": f"{measure}: {expected}; {mend}", "meta": meta}


def _run(
    gx: ModuleType, context: EphemeralDataContext, suite: ExpectationSuite, name: str, table: pd.DataFrame
) -> list[Any]:
    """Validate the table and build the Data Docs; the results in the suite's order."""
    asset = context.data_sources.add_pandas(name).add_dataframe_asset("accepted rows")
    batch = asset.add_batch_definition_whole_dataframe("all")
    definition = gx.ValidationDefinition(name=name, data=batch, suite=suite)
    docs = gx.checkpoint.UpdateDataDocsAction(name="docs", site_names=["docs"])
    checkpoint = gx.Checkpoint(
        name=name, validation_definitions=[context.validation_definitions.add(definition)], actions=[docs]
    )
    outcome = context.checkpoints.add(checkpoint).run(batch_parameters={"dataframe": table})
    (validation,) = outcome.run_results.values()
    order = [dict(expectation.meta or {})["measure"] for expectation in suite.expectations]
    return sorted(validation.results, key=lambda result: order.index(_meta(result)["measure"]))


def _meta(result: Any) -> dict[str, str]:
    return dict(result.expectation_config.meta)


def _finding(result: Any) -> Finding:
    if result.exception_info.get("raised_exception"):
        raise RuntimeError(f"{_meta(result)['measure']}: {result.exception_info['exception_message']}")
    meta = _meta(result)
    return Finding(
        expectation=result.expectation_config.type,
        measure=meta["measure"],
        expected=meta["expected"],
        observed=_observed(dict(result.result)),
        success=bool(result.success),
        mend=meta["mend"],
    )


def _observed(result: dict[str, Any]) -> float | None:
    """A number: the observed value, or of a rule about single values the share that keeps it."""
    percent = result.get("unexpected_percent")
    value = result["observed_value"] if percent is None else 1 - percent / 100
    return None if value is None or pd.isna(value) else float(value)
