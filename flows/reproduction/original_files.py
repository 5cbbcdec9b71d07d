"""Contents of the original run's outputs: in DVC's cache, in the checkout, or among the artifacts of MLflow."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from flows.reproduction.original_run import OriginalRun
from flows.tracking.lineage import file_md5
from flows.tracking.mlflow_log import search_runs


@dataclass(frozen=True)
class OriginalFiles:
    """Finds a file with the content that an output of the original run had."""

    original: OriginalRun
    repo: Path  # the checkout of the original run
    cache: Path  # DVC's folder of files by md5
    reports: Path  # the reports folder, as in the run's settings

    def __call__(self, path: str, md5: str) -> Path | None:
        """A file with this md5, which the output `path` had; None where no copy is left."""
        cached, current = self.cache / md5[:2] / md5[2:], self.repo / path
        if cached.is_file():
            return cached
        if current.is_file() and file_md5(current) == md5:
            return current
        return self._artifact(Path(path), md5)

    def _artifact(self, path: Path, md5: str) -> Path | None:
        copies = (self.original.artifact(name, run_id) for name, run_id in self._candidates(path, md5))
        return next((file for file in copies if file is not None and file_md5(file) == md5), None)

    def _candidates(self, path: Path, md5: str) -> Iterator[tuple[str, str]]:
        """Artifacts with their run ids. A pipeline run has all reports, a stage its own report and its metrics file."""
        own = self.original.run.info.run_id
        if path.is_relative_to(self.reports):
            pipeline = own if self.original.is_pipeline else self.original.tags.get("mlflow.parentRunId", own)
            yield f"reports/{path.relative_to(self.reports).as_posix()}", pipeline
            yield f"report/{path.name}", own
        for run in search_runs(self.original.client, f"tags.made = '{md5}'", limit=10):
            yield path.name, run.info.run_id
