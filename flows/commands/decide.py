"""`dermflow decide`: add seeds, look by look, until the question is decided or cannot be decided.

The looks and their levels are planned in `compare.looks`. A look sets study.seeds, runs the pipeline and reads its
verdicts. reports/looks.json keeps every look, so that a later start continues; what a look decided stands.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

from components.base.config import Frozen
from components.base.errors import RunError
from components.base.files import write_text
from components.base.run_id import RunId
from components.report.formatting import percent
from flows.orchestration.freshness import read_stages
from flows.orchestration.processes import only_run
from flows.presets import edit
from flows.settings import PARAMS, Settings, load_settings
from flows.stage_io.files import read_json
from flows.stage_io.publish import as_json
from flows.tracking.mlflow_log import recorded_run

FILE = "looks.json"

FUTILITY = 0.05
"""Highest probability that a look decides at which it is not worth its trainings.

Not to look claims nothing, so this limit has no influence on the probability of a false claim.
"""


class Plan(Frozen):
    """What may not change once a look was taken."""

    study: str
    arms: tuple[str, ...]
    protocols: tuple[str, ...]
    reference: str
    confidence: float
    margin: float
    looks: tuple[int, ...]


class ComparisonAtLook(Frozen):
    """One comparison at one look."""

    decided: bool
    sentence: str
    """The verdict."""
    chances: dict[int, float]
    """Probability that a later look decides, by its number of seeds; empty where there is no forecast."""


class JudgedLook(Frozen):
    """One look that was taken."""

    seeds: int
    level: float
    seconds: float
    """That the pipeline ran."""
    trained: int
    """Seeds of which anything was trained in that time."""
    comparisons: dict[str, ComparisonAtLook]
    """By `ARM-PROTOCOL`."""


class Looks(Frozen):
    """The content of reports/looks.json."""

    plan: Plan
    taken: tuple[JudgedLook, ...] = ()

    @property
    def open(self) -> list[str]:
        """Comparisons that no look has decided."""
        decided = {name for look in self.taken for name, found in look.comparisons.items() if found.decided}
        return [name for name in (self.taken[-1].comparisons if self.taken else ()) if name not in decided]

    @property
    def upcoming(self) -> tuple[int, ...]:
        """Numbers of seeds of the looks that were not taken."""
        return self.plan.looks[len(self.taken) :]

    @property
    def seconds_per_seed(self) -> float | None:
        """The longest that a trained seed took, with everything else of its look; None where none was trained."""
        return max((look.seconds / look.trained for look in self.taken if look.trained), default=None)

    def lines(self) -> list[str]:
        """Of each comparison the verdict of the look that decided it, or else of the last look."""
        final: dict[str, tuple[int, ComparisonAtLook]] = {}
        for number, look in enumerate(self.taken, 1):
            final |= {
                name: (number, found)
                for name, found in look.comparisons.items()
                if name not in final or not final[name][1].decided
            }
        return [f"Look {number}: {found.sentence}" for number, found in final.values()]


def decide(budget: float | None, run: Callable[[], int], echo: Callable[[str], None]) -> str:
    """Take one look after the other, and say why no further one is taken.

    Args:
        budget: minutes; a look that is expected to exceed them is not started. None: no limit.
        run: runs the pipeline on params.yaml; its exit status.
        echo: shows a line to the user.

    Returns:
        One sentence.

    Raises:
        RunError: where no looks are planned, the plan was changed after a look, or the pipeline fails.
    """
    settings, began = load_settings(), time.monotonic()
    file = settings.paths.reports / FILE
    looks = read_looks(file, plan_of(settings))
    while (reason := reason_to_stop(looks, _minutes_left(budget, began))) is None:
        looks = _take_look(looks, run, echo)
        write_text(file, as_json(looks.model_dump(mode="json")))
        _log_to_mlflow(looks, file)
    for line in looks.lines():
        echo(line)
    return reason


def plan_of(settings: Settings) -> Plan:
    """The plan that the settings make; RunError where they plan no looks."""
    study, compare = settings.study, settings.compare
    if compare.looks is None:
        raise RunError(
            "compare.looks is null, expected numbers of seeds at which the study may stop, such as [3, 5, 10] "
            "(params.yaml, before the first run: a plan that is made after a look is none)"
        )
    return Plan(
        study=study.name, arms=study.arms, protocols=study.protocols, reference=study.reference,
        confidence=compare.confidence, margin=compare.margin, looks=compare.looks,
    )  # fmt: skip


def read_looks(file: Path, plan: Plan) -> Looks:
    """The looks that were taken by this plan, none where there is no file; RunError where the plan is another one."""
    if not file.exists():
        return Looks(plan=plan)
    looks = Looks.model_validate(read_json(file))
    before, now = looks.plan.model_dump(mode="json"), plan.model_dump(mode="json")
    changed = [f"{key} was {before[key]}, is {now[key]}" for key in now if before[key] != now[key]]
    if changed:
        raise RunError(
            f"{file} holds looks of another plan: {'; '.join(changed)}. A plan that changes after a look does not keep "
            "its level: set the former values in params.yaml, or remove the file and call the new study exploratory"
        )
    return looks


def reason_to_stop(looks: Looks, minutes_left: float = math.inf) -> str | None:
    """Why no further look is taken, as a sentence; None where the next one is."""
    if not looks.taken:
        return None
    last, count, still = looks.taken[-1], len(looks.taken), " and ".join(looks.open)
    stopped = f"Stopped after look {count} of {len(looks.plan.looks)} ({last.seeds} seeds)"
    if not looks.open:
        return f"{stopped}: every comparison is decided."
    if not looks.upcoming:
        return f"{stopped}, the last one: {still} not decided."
    chances = {seeds: _best_chance(looks, seeds) for seeds in looks.upcoming}
    if all(chance < FUTILITY for chance in chances.values()):
        words = ", ".join(f"{seeds} seeds: {percent(chance)} %" for seeds, chance in chances.items())
        return (
            f"{stopped}: {still} not decided, and each planned look decides it with a probability below "
            f"{percent(FUTILITY)} % ({words}). The section 'What a decision would need' shows what more lesions bring."
        )
    if looks.seconds_per_seed is None:
        return None
    needed = looks.seconds_per_seed * (looks.upcoming[0] - last.seeds) / 60
    if needed <= minutes_left:
        return None
    return (
        f"{stopped}: {still} not decided. The next look needs about {needed:.1f} minutes, and "
        f"{max(0.0, minutes_left):.1f} of the budget are left; `dermflow decide` continues."
    )


def _best_chance(looks: Looks, seeds: int) -> float:
    """The highest probability that the look with that many seeds decides an open comparison; 1 without a forecast."""
    found = looks.taken[-1].comparisons
    return max(found[name].chances.get(seeds, 1.0) for name in looks.open)


def _minutes_left(budget: float | None, began: float) -> float:
    return math.inf if budget is None else budget - (time.monotonic() - began) / 60


def _take_look(looks: Looks, run: Callable[[], int], echo: Callable[[str], None]) -> Looks:
    """Set the seeds, run the pipeline, read the verdicts."""
    seeds = looks.upcoming[0]
    _set_seeds(seeds)
    settings = load_settings()
    rule = settings.compare.rule(seeds)
    echo(f"Look {len(looks.taken) + 1} of {len(looks.plan.looks)}: {seeds} seeds, decided at level {rule.alpha:g}")
    began, clock = time.time(), time.monotonic()
    if status := run():
        raise RunError(
            f"look {len(looks.taken) + 1}: the pipeline ended with exit status {status} (its message is above); "
            "finished stages are kept, and `dermflow decide` continues with this look"
        )
    taken = JudgedLook(
        seeds=seeds,
        level=rule.alpha,
        seconds=round(time.monotonic() - clock, 1),
        trained=_count_trained(settings, began),
        comparisons=read_verdicts(settings.paths.reports / "comparison.json"),
    )
    return looks.model_copy(update={"taken": (*looks.taken, taken)})


def _set_seeds(seeds: int) -> None:
    """Write study.seeds into params.yaml; not during a run."""
    text = edit(PARAMS.read_text("utf-8"), f"study.seeds={list(range(seeds))}")
    with only_run(entry.name for entry in read_stages(Path.cwd())):
        write_text(PARAMS, text)


def _count_trained(settings: Settings, began: float) -> int:
    """Seeds of which a classifier was written since `began`, a time of the clock in seconds."""
    study, folder = settings.study, settings.paths.classifiers

    def is_new(seed: int) -> bool:
        runs = (RunId(arm, protocol, seed) for arm, protocol in product(study.arms, study.protocols))
        files = [folder / f"{run}.safetensors" for run in runs]
        return any(file.exists() and file.stat().st_mtime >= began for file in files)

    return sum(map(is_new, study.seeds))


def read_verdicts(file: Path) -> dict[str, ComparisonAtLook]:
    """Of each comparison of a comparison.json, whether it is decided, and the forecast of later looks."""
    return {f"{each['arm']}-{each['protocol']}": _read_verdict(each) for each in read_json(file)["differences"]}


def _read_verdict(difference: dict[str, Any]) -> ComparisonAtLook:
    verdict, forecasts = difference["verdict"], difference["forecasts"]
    return ComparisonAtLook(
        decided=verdict["decides_accuracy"],
        sentence=verdict["sentence"],
        chances={each["seeds"]: each["decides"] for each in forecasts if each["decides"] is not None},
    )


def _log_to_mlflow(looks: Looks, file: Path) -> None:
    """The last look as a run of its own, next to the pipeline's."""
    look, settings = looks.taken[-1], load_settings()
    name = f"look {len(looks.taken)} of {len(looks.plan.looks)}"
    with recorded_run(settings, name, {"stage": "decide"}) as log:
        log.metrics({"seeds": look.seeds, "level": look.level, "seconds": look.seconds, "open": len(looks.open)})
        for model, found in look.comparisons.items():
            log.metrics({f"{model}/decides_at_{seeds}": chance for seeds, chance in found.chances.items()})
        log.artifact(file)
