"""`dermflow reproduce RUN`: repeat an MLflow run in a fresh clone and compare its outputs with those of the original.

Everything upstream of the run is repeated, too, without access to any result of the original. Afterwards the outputs
are compared by md5, and number by number where the md5 differs (`compare_runs`). The steps are: find the original run
(`original_run`), read what was recorded of its stages (`recorded_stages`), prepare the clone (`workspace`), run it
(`rerun`), compare, and report (`report`).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from components.base.errors import RunError
from flows.orchestration.graph import cache_folder, read_graph, upstream_of
from flows.orchestration.processes import stop_on_sigterm
from flows.reproduction.compare_runs import compare_locks, read_lock
from flows.reproduction.original_files import OriginalFiles
from flows.reproduction.original_run import (
    OriginalRun,
    differing_versions,
    find_run,
    refuse_incomplete,
    start_time,
)
from flows.reproduction.recorded_stages import (
    data_hashes,
    find_node,
    recorded_lock,
    unplanned_note,
)
from flows.reproduction.report import Reproduction, log_report
from flows.reproduction.rerun import differing_weights, rerun
from flows.reproduction.workspace import prepare, supply_data
from flows.settings import PARAMS
from flows.tracking.lineage import LOCK
from flows.tracking.mlflow_log import open_client


def reproduce(run: str, *, into: Path | None, without_changes: bool, echo: Callable[[str], None]) -> Reproduction:
    """Repeat a run of this checkout and compare all outputs.

    Args:
        run: id or name of an MLflow run, or its first characters.
        into: a new or empty folder for the clone; a new one in data/reproduced for None.
        without_changes: whether to leave out the code changes that the run had beyond its commit.
        echo: prints one line of progress.

    Raises:
        RunError: where the run cannot be found or repeated, with the reason.
    """
    repo = Path.cwd()
    if not PARAMS.exists():  # checked first, since `open_client` would create a database here
        raise RunError(f"{repo} has no {PARAMS}: run this in the checkout of Dermflow where the run was made")
    client = open_client()
    with TemporaryDirectory(prefix="dermflow-") as scratch, stop_on_sigterm():
        original = OriginalRun(client, find_run(client, run), Path(scratch))
        refuse_incomplete(original)
        echo(f"{original.label} of {start_time(original.run)}, commit {original.tags['git.commit'][:12]}")
        workspace = prepare(original, repo, into=into, without_changes=without_changes)
        nodes = read_graph(workspace.root)
        target = None if original.is_pipeline else find_node(nodes, original)
        order = upstream_of(nodes, target)
        recorded = recorded_lock(original, target, order, read_lock(repo / LOCK))
        workspace.notes += unplanned_note(original.lock, order) if target is None else []
        supply_data(workspace, repo, data_hashes(original, recorded))
        versions = differing_versions(original)
        for line in [*workspace.notes, *versions]:
            echo(line)
        rerun(original, workspace, target, echo)
        files = OriginalFiles(original, repo, cache_folder(repo), workspace.reports)
        repeated = read_lock(workspace.root / LOCK)
        comparison = compare_locks(
            recorded, repeated, order=order, root=workspace.root, find_original=files, moved=workspace.moved
        )
        if target is not None and "cmd" not in recorded[target.address]:  # DVC's md5 of the weights is not known
            comparison = comparison.with_weights(differing_weights(original, workspace, target))
        found = Reproduction(workspace, comparison, versions)
        log_report(original, found)
        return found
