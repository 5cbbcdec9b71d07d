"""The original run: found in MLflow by its id or name, with the tags and files that were recorded with it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path

from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from components.base.errors import RunError
from flows.reproduction.compare_runs import Lock, read_lock
from flows.reproduction.differences import differing_values
from flows.tracking.environment import (
    ORIGIN_FOLDER,
    PACKAGES_FILE,
    THREADS_TAG,
    differing_packages,
    environment_tags,
    installed_packages,
)
from flows.tracking.lineage import LOCK
from flows.tracking.mlflow_log import PIPELINE, search_runs

LISTED = 5  # runs that an error message names


@dataclass(frozen=True)
class OriginalRun:
    """A run as MLflow recorded it: tags and artifacts."""

    client: MlflowClient
    run: Run
    scratch: Path  # folder for downloaded artifacts

    @property
    def tags(self) -> dict[str, str]:
        """The run's tags."""
        return dict(self.run.data.tags)

    @property
    def label(self) -> str:
        """Name and id, for messages."""
        return f"{self.run.info.run_name} ({self.run.info.run_id})"

    @property
    def is_pipeline(self) -> bool:
        """Whether the run is a pipeline run, that is, all stages."""
        return self.tags.get("stage") == PIPELINE

    def artifact(self, path: str, run_id: str = "") -> Path | None:
        """A local copy of an artifact of the run, or of the run `run_id`; None where there is no such artifact."""
        folder = self.scratch / (run_id or self.run.info.run_id)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            found = Path(self.client.download_artifacts(run_id or self.run.info.run_id, path, str(folder)))
        except (MlflowException, OSError):
            return None
        return found if found.exists() else None

    @cached_property
    def lock(self) -> Lock:
        """The dvc.lock at the end of a pipeline run, or at the start of a stage; empty for runs of older versions."""
        return read_lock(self.artifact(LOCK.name if self.is_pipeline else f"{ORIGIN_FOLDER}/{LOCK.name}"))

    @cached_property
    def parent_lock(self) -> Lock:
        """The dvc.lock at the end of the pipeline run that the stage belonged to; empty where there was none."""
        parent = self.tags.get("mlflow.parentRunId")
        return read_lock(self.artifact(LOCK.name, parent)) if parent else {}


def find_run(client: MlflowClient, text: str) -> Run:
    """The run whose id or name is `text` or begins with it.

    Raises:
        RunError: where no run or several match, with those that are similar.
    """
    return choose_run(search_runs(client), text)


def choose_run(runs: list[Run], text: str) -> Run:
    """As `find_run`, among `runs`."""
    if not runs:
        raise RunError(f"{text!r}: MLflow has no run yet; `dermflow run` makes the first")
    found = [run for run in runs if run.info.run_id.startswith(text) or (run.info.run_name or "").startswith(text)]
    exact = [run for run in found if text in (run.info.run_id, run.info.run_name)]
    if len(exact or found) == 1:
        return (exact or found)[0]
    if found:
        raise RunError(f"{text!r} matches {len(found)} runs: give more characters of its id\n{_list(exact or found)}")
    near = get_close_matches(text, [name for run in runs for name in (run.info.run_id, run.info.run_name or "")])
    shown = [run for run in runs if run.info.run_id in near or run.info.run_name in near] or runs
    raise RunError(f"{text!r} is not a run of MLflow; the {'most similar' if near else 'newest'} are\n{_list(shown)}")


def _list(runs: Iterable[Run]) -> str:
    lines = [f"  {run.info.run_id}  {run.info.run_name}  {run.info.status}  {start_time(run)}" for run in runs]
    more = f"\n  and {len(lines) - LISTED} more" if len(lines) > LISTED else ""
    return "\n".join(lines[:LISTED]) + more


def start_time(run: Run) -> str:
    """The start of a run, in UTC, for messages."""
    return f"{datetime.fromtimestamp(run.info.start_time / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"


def refuse_incomplete(original: OriginalRun) -> None:
    """Raise RunError for a run that has nothing to compare with, or whose code is not known."""
    status, commit = original.run.info.status, original.tags.get("git.commit", "none")
    if status != "FINISHED":
        raise RunError(
            f"{original.label} is {status}: it has no results to compare with; choose a run that is FINISHED"
        )
    if original.is_pipeline and not original.lock:
        raise RunError(
            f"{original.label} has no artifact {LOCK}: there is nothing to compare with; choose a run of one of its "
            "stages"
        )
    if not original.is_pipeline and "made" not in original.tags:
        raise RunError(f"{original.label} is not the run of a stage: it has no tag `made` to compare with")
    if commit == "none":
        why = original.tags.get("git.state", "made outside git")
        raise RunError(
            f"{original.label} has no commit ({why}): its code is not known, so it cannot be repeated; "
            "`dermflow doctor` says how later runs get one"
        )


def differing_versions(original: OriginalRun) -> list[str]:
    """One sentence for each difference of Python, packages and machine between the original run and now."""
    now = environment_tags()
    then = {name: original.tags[name] for name in now if name in original.tags and name != THREADS_TAG}
    if not then:
        return ["the run recorded no versions of Python and packages: whether they differ is not known"]
    hashes = ("env.packages", "env.requirements.lock")  # the packages themselves are listed below
    tags = [
        f"{each.name.removeprefix('env.')}: {each.then} then, {each.now} now"
        for each in differing_values(then, {name: now[name] for name in then})
        if each.name not in hashes
    ]
    recorded = original.artifact(f"{ORIGIN_FOLDER}/{PACKAGES_FILE}")
    packages = differing_packages(recorded.read_text().splitlines(), installed_packages()) if recorded else []
    return tags + [f"package {line}" for line in packages]
