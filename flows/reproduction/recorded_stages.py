"""Which stages of the graph belong to a run, and what was recorded of each: md5 of inputs and outputs, settings."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from components.base.errors import RunError
from flows.orchestration.graph import Node
from flows.reproduction.compare_runs import Lock, hashes
from flows.reproduction.original_run import OriginalRun


def find_node(nodes: Iterable[Node], original: OriginalRun) -> Node:
    """The stage of the graph that the run was, found by its command.

    The address cannot be used: in it, DVC numbers the items of a matrix over a list of mappings, such as cohorts.

    Raises:
        RunError: where the graph has no such stage.
    """
    command = f"python -m flows.{original.tags.get('stage')} {original.tags.get('item', '')}".rstrip()
    found = [node for node in nodes if _words(node.command) == _words(command)]
    if not found:
        raise RunError(f"{original.label}: dvc.yaml has no stage with the command `{command}` under the run's settings")
    return found[0]


def _words(command: str) -> list[str]:
    """The words of a command; a dash separates, too, as it joins them in the name of a matrix item."""
    return command.replace("-", " ").split()


def recorded_lock(original: OriginalRun, target: Node | None, order: Iterable[str], current: Lock) -> Lock:
    """What was recorded of each stage of `order`, as entries of dvc.lock.

    DVC writes the entry of a stage after the stage's own MLflow run has ended. So the entry of `target` is taken from
    the dvc.lock of its pipeline run, or from the checkout's (`current`), where its metrics file has the md5 of the
    run's tag `made`. Otherwise the entry consists of the metrics file alone.

    Raises:
        RunError: where none of the recorded stages is in the graph, or nothing was recorded of the target.
    """
    if target is None or _has_result(original.parent_lock, target, original):
        lock = original.parent_lock if target else original.lock
        found = {address: lock[address] for address in order if address in lock}
        if not found:
            raise RunError(
                f"{original.label}: none of its {len(lock)} recorded stages is in the clone's graph (dvc.yaml of "
                f"commit {original.tags['git.commit'][:12]}): there is nothing to compare with"
            )
        return found
    upstream = {address: original.lock[address] for address in order if address in original.lock}
    inputs = {path: md5 for entry in upstream.values() for path, md5 in hashes(entry, "outs").items()}
    entry = current.get(target.address, {})
    same_inputs = all(inputs.get(path, md5) == md5 for path, md5 in hashes(entry, "deps").items())
    if not (same_inputs and _has_result(current, target, original)):
        entry = {"outs": [{"path": _metrics_path(target, original), "md5": original.tags["made"]}]}
    return {**upstream, target.address: entry}


def _has_result(lock: Lock, target: Node, original: OriginalRun) -> bool:
    """Whether the stage's entry in a dvc.lock holds the result of this run."""
    return original.tags["made"] in hashes(lock.get(target.address, {}), "outs").values()


def _metrics_path(target: Node, original: OriginalRun) -> str:
    """The stage's output that the run logged as an artifact: its metrics file."""
    artifacts = original.client.list_artifacts(original.run.info.run_id)
    logged = {Path(file.path).name for file in artifacts if not file.is_dir}
    found = [path for path in target.results if Path(path).suffix == ".json" and Path(path).name in logged]
    if not found:
        raise RunError(
            f"{original.label} has none of the artifacts {list(target.results)}: there is nothing to compare with"
        )
    return found[-1]


def unplanned_note(recorded: Lock, order: Iterable[str]) -> list[str]:
    """A note on recorded stages that the clone does not run; DVC keeps entries of former settings in dvc.lock."""
    names = sorted(recorded.keys() - set(order))
    return [f"recorded, but not in the clone's graph, and not compared: {', '.join(names)}"] if names else []


def data_hashes(original: OriginalRun, recorded: Lock) -> dict[str, str]:
    """Md5 of every path that the recorded stages read."""
    found = {path: md5 for entry in recorded.values() for path, md5 in hashes(entry, "deps").items()}
    path = original.run.data.params.get("dataset.path")
    if not found and path and not original.lock and original.tags.get("dvc.data", "none") != "none":
        return {path: original.tags["dvc.data"]}  # a run of an older version
    return found
