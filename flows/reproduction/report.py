"""The result of a reproduction: lines for the terminal, reproduction.json, and a tag of the original run in MLflow."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from flows.reproduction.compare_runs import DIFFERS, EQUAL, RunComparison, StageComparison
from flows.reproduction.differences import ValueDifference
from flows.reproduction.original_run import OriginalRun
from flows.reproduction.rerun import RERUN_LOG
from flows.reproduction.workspace import LEFT_OUT, Workspace

REPORT = Path("reproduction.json")
SHOWN = 20  # numbers in the terminal; the report has all of them
UNEXPLAINED = (
    "code, data, settings and versions are the recorded ones: either something differs that is not recorded, or this "
    "stage is not deterministic on this machine"
)


@dataclass(frozen=True)
class Reproduction:
    """A repeated run: where it ran, and how its outputs compare with the original ones."""

    workspace: Workspace
    comparison: RunComparison
    versions: list[str]  # differing versions, each as a sentence

    @property
    def verdict(self) -> str:
        """Equal, equal within a tolerance, or differs."""
        return self.comparison.verdict


def is_reproduced(found: Reproduction) -> bool:
    """Whether the outputs are equal, or equal within the tolerance."""
    return found.verdict != DIFFERS


def log_report(original: OriginalRun, found: Reproduction) -> None:
    """Write reproduction.json into the clone, and log it and the verdict with the original run."""
    path = found.workspace.root / REPORT
    now, run_id = datetime.now(UTC), original.run.info.run_id
    facts = {
        "run": run_id, "name": original.run.info.run_name, "commit": original.tags["git.commit"],
        "date": f"{now:%Y-%m-%dT%H:%M:%SZ}", "notes": found.workspace.notes, "versions": found.versions,
    }  # fmt: skip
    path.write_text(json.dumps({**facts, **found.comparison.as_data()}, indent=2, allow_nan=False) + "\n")
    original.client.log_artifact(run_id, str(path), f"reproduced/{now:%Y%m%dT%H%M%SZ}")
    original.client.set_tag(run_id, "reproduced", f"{found.verdict}, {facts['date']}")


def describe(found: Reproduction) -> list[str]:
    """The result in lines: verdict, the first stage that differs with its numbers, the likely reason, the folder."""
    comparison, first = found.comparison, found.comparison.first
    outputs = sum(stage.outputs for stage in comparison.stages)
    lines = [f"{found.verdict}: {outputs} outputs of {len(comparison.stages)} stages compared"]
    if found.verdict == EQUAL:
        lines[0] += ", the same to the last bit"
    if comparison.unrecorded:
        lines.append(f"nothing was recorded of {', '.join(comparison.unrecorded)}")
    if first is not None:
        lines += [f"first difference at {first.address}:", *_files(first), *_table(first.numbers)]
        lines += _reasons(found, first)
    for last in comparison.stages[-1:]:
        if last is not first and last.numbers:
            lines += [f"and {last.address}:", *_table(last.numbers)]
    lines += [f"  {each.name}: {each.then} then, {each.now} now" for each in comparison.weights]
    return [*lines, f"workspace: {found.workspace.root} ({REPORT} has all numbers, {RERUN_LOG} the output of the run)"]


def _files(stage: StageComparison) -> list[str]:
    lines = []
    for file in stage.files:
        if file.now is None:
            text = "was not made by the repeated run"
        elif file.lost:
            text = "the difference is not known, as its original content is not in DVC's cache here (dvc fetch)"
        elif file.distance < math.inf:
            text = f"numbers at most {file.distance:.3g} apart"
        else:
            text = "more than last digits differ"
        lines.append(f"  {file.path}: {text}")
    return lines


def _table(numbers: list[ValueDifference]) -> list[str]:
    shown = [f"  {each.name}: {each.then} then, {each.now} now{_change(each)}" for each in numbers[:SHOWN]]
    return shown + ([f"  and {len(numbers) - SHOWN} more"] if len(numbers) > SHOWN else [])


def _change(each: ValueDifference) -> str:
    return f", {each.now - each.then:+.3g}" if each.distance < math.inf else ""


def _reasons(found: Reproduction, first: StageComparison) -> list[str]:
    left_out = [note for note in found.workspace.notes if note == LEFT_OUT]
    reasons = first.reasons or left_out or [f"other versions: {line}" for line in found.versions]
    return [f"  likely: {line}" for line in reasons or [UNEXPLAINED]]
