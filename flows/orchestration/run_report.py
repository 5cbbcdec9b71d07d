"""What a pipeline run changed against the run before, as Markdown: images by class, metrics, verdicts, recommendation.

The run before is the newest finished one of this study and checkout in MLflow. Its dvc.lock names its tables of images,
which are read from DVC's cache; its metrics and its comparison.json are in MLflow.
"""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlflow.entities import Run
from mlflow.tracking import MlflowClient
from ruamel.yaml import YAML

from components.base.keys import as_key
from flows.orchestration.graph import cache_folder
from flows.orchestration.processes import checkout_id
from flows.settings import Settings
from flows.tracking.lineage import LOCK
from flows.tracking.mlflow_log import PIPELINE, RunLog, search_runs

if TYPE_CHECKING:
    import pandas as pd

KEY = "dermflow-report"
"""Of the artifact in Prefect; in MLflow it is KEY.md."""
COMPARISON = "comparison.json"


@dataclass(frozen=True)
class Result:
    """What a run made, as far as it is compared."""

    metrics: Mapping[str, float]
    comparison: Mapping[str, Any] = field(default_factory=dict)  # comparison.json; empty where nothing was compared
    images: pd.DataFrame | None = None  # as `drift.assemble` makes it; None where the tables are not known


def report_changes(settings: Settings, metrics: Mapping[str, float], log: RunLog) -> str:
    """Write the report into Prefect, as an artifact with the key `KEY`, and into the parent run in MLflow.

    Args:
        settings: of the study.
        metrics: of the run that ends.
        log: of its parent run.

    Returns:
        The text.
    """
    from prefect.artifacts import create_markdown_artifact

    former = _former_run(settings, log)
    before = _former_result(log.client, former, settings) if former else None
    named: dict[str, float] = {
        as_key(name): value for name, value in metrics.items()
    }  # as MLflow has those of the run before
    text = describe(settings.study.name, before, _present_result(settings, named), _words(former))
    create_markdown_artifact(text, key=KEY, description=f"What changed in the study {settings.study.name}")
    log.client.log_text(log.run_id, text, f"{KEY}.md")
    return text


def describe(study: str, before: Result | None, now: Result, former: str) -> str:
    """The report.

    Args:
        study: its name.
        before: the result of the run before; None where there is none.
        now: the result of this run.
        former: words for the run before.
    """
    parts = [f"# {study}: changes since {former}" if before else f"# {study}: the first finished run"]
    parts += ["## Images", *_describe_images(before, now.images)]
    parts += ["## Metrics of each arm", *_describe_metrics(before.metrics if before else {}, now.metrics)]
    for title, sentences in (("Verdicts", _verdicts), ("Recommended model", _recommendation)):
        parts += [f"## {title}", *_describe_sentences(sentences(before) if before else None, sentences(now))]
    return "\n\n".join(parts) + "\n"


# --- sections


def _describe_images(former: Result | None, now: pd.DataFrame | None) -> list[str]:
    from components.validation.drift import UNLABELLED, compare

    if now is None:
        return ["This run made no tables of images."]
    if former is None or (before := former.images) is None:
        counts = now[now["accepted"]]["label"].fillna(UNLABELLED).value_counts().sort_index()
        rows = [[str(name), f"{number:,}"] for name, number in counts.items()]
        lost = ["The tables of the run before are not known or no longer in DVC's cache."] if former else []
        return [*lost, table(["class", "accepted"], rows)]
    changes = compare(before, now)
    if changes.empty:
        return [f"No changes: {len(now):,} images, {now['accepted'].sum():,} of them accepted."]
    added, removed = (part["label"].fillna(UNLABELLED).value_counts() for part in (changes.added, changes.removed))
    names = sorted({*map(str, changes.classes.index), *map(str, added.index), *map(str, removed.index)})
    accepted = changes.classes.reindex(names).fillna(0)
    rows = [
        [name, f"{added.get(name, 0):,}", f"{removed.get(name, 0):,}",
         f"{accepted['before'][name]:,.0f}", f"{accepted['after'][name]:,.0f}"]
        for name in names
    ]  # fmt: skip
    others = {
        "relabelled": changes.relabelled, "replaced": changes.replaced, "renamed": changes.renamed,
        "newly accepted": changes.newly_accepted, "no longer accepted": changes.newly_quarantined,
    }  # fmt: skip
    return [
        table(["class", "added", "removed", "accepted before", "accepted now"], rows),
        "Of the images of both runs: " + ", ".join(f"{len(part):,} {name}" for name, part in others.items()) + ".",
    ]


def _describe_metrics(before: Mapping[str, float], now: Mapping[str, float]) -> list[str]:
    names = sorted({name for name in (*before, *now) if "/" in name and not name.startswith("stages/")})
    rows = [
        [name, *(f"{values[name]:.4g}" if name in values else "none" for values in (before, now)),
         f"{now[name] - before[name]:+.4g}" if name in before and name in now else ""]
        for name in names
        if before.get(name) != now.get(name)
    ]  # fmt: skip
    if not rows:
        return ["No changes." if names else "There are no metrics of arms."]
    return [table(["arm and metric", "before", "now", "difference"], rows)]


def _describe_sentences(before: list[str] | None, now: list[str]) -> list[str]:
    if not before and not now:
        return ["None."]
    if before == now:
        return ["No changes.", *(f"- {each}" for each in now)]
    lines = [f"- now: {each}" for each in now] or ["- now: none"]
    return lines if before is None else [*lines, *([f"- before: {each}" for each in before] or ["- before: none"])]


def _verdicts(result: Result) -> list[str]:
    return [str(each["verdict"]["sentence"]) for each in result.comparison.get("differences", ())]


def _recommendation(result: Result) -> list[str]:
    found = result.comparison.get("recommendation")
    return [str(found["sentence"])] if found else []


def table(head: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


# --- results


def _present_result(settings: Settings, metrics: Mapping[str, float]) -> Result:
    file = settings.paths.reports / COMPARISON
    comparison = json.loads(file.read_text()) if file.exists() else {}
    paths = _table_paths(settings)
    return Result(metrics, comparison, _assemble(paths) if all(path.exists() for path in paths) else None)


def _former_run(settings: Settings, log: RunLog) -> Run | None:
    query = (
        f"tags.stage = '{PIPELINE}' and tags.study = '{settings.study.name}' and tags.checkout = '{checkout_id()}' "
        "and attributes.status = 'FINISHED'"
    )
    return next((run for run in search_runs(log.client, query, limit=1) if run.info.run_id != log.run_id), None)


def _former_result(client: MlflowClient, run: Run, settings: Settings) -> Result:
    found = _read_artifact(client, run, f"reports/{COMPARISON}")
    lock = _read_artifact(client, run, str(LOCK))
    return Result(run.data.metrics, json.loads(found) if found else {}, _former_images(lock, settings))


def _former_images(lock: str, settings: Settings) -> pd.DataFrame | None:
    """The tables that a dvc.lock names, from DVC's cache; None where it names none or the cache has lost one."""
    stages = (YAML(typ="safe").load(lock) or {}).get("stages") or {}
    hashes = {out["path"]: out.get("md5", "") for stage in stages.values() for out in stage.get("outs", ())}
    found = [hashes.get(str(path), "") for path in _table_paths(settings)]
    files = [cache_folder(Path()) / md5[:2] / md5[2:] for md5 in found]
    return _assemble(files) if all(found) and all(file.is_file() for file in files) else None


def _table_paths(settings: Settings) -> list[Path]:
    return [settings.paths.records, settings.paths.facts, settings.paths.accepted]


def _assemble(files: list[Path]) -> pd.DataFrame:
    import pandas as pd

    from components.validation.drift import assemble

    return assemble(*(pd.read_parquet(io.BytesIO(file.read_bytes()), engine="pyarrow") for file in files))


def _read_artifact(client: MlflowClient, run: Run, path: str) -> str:
    """The text of an artifact; empty where the run has none of this name."""
    folder = str(Path(path).parent)
    kept = client.list_artifacts(run.info.run_id, None if folder == "." else folder)
    if path not in [each.path for each in kept]:
        return ""
    with tempfile.TemporaryDirectory() as place:
        return Path(client.download_artifacts(run.info.run_id, path, place)).read_text()


def _words(run: Run | None) -> str:
    if run is None:
        return ""
    ended = datetime.fromtimestamp(run.info.end_time / 1000, UTC)
    return f"the run of {ended:%Y-%m-%d %H:%M} UTC (MLflow run {run.info.run_id})"
