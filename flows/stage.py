"""@stage: typed settings in, one MLflow run, metrics file out; the same for every stage of dvc.yaml.

The arguments of a stage's function declare what it needs: sections of params.yaml by their names, `log`, and the
variables of dvc.yaml's matrix (arm, protocol, seed), which come from the command line in this order. A stage with
`resumes` can be killed at any moment: the same command resumes from its state, in the same MLflow run. Where several
processes train together, each runs the stage, and only the leading process logs and writes.
"""

from __future__ import annotations

import inspect
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, get_type_hints, overload

from pydantic import TypeAdapter
from pydantic_core import to_jsonable_python

from components.base.errors import RunError, SettingsError
from components.base.files import write_text
from components.base.keys import flat_keys
from components.base.log import Log, SilentLog
from components.base.run_id import RunId
from components.training.checkpoints import StaleStateError, kept_until_end, set_aside
from components.training.settings import Compute
from flows.orchestration.freshness import check_members
from flows.orchestration.run_state import StageState, changed_since_start, describe_changes
from flows.settings import Settings, load_settings
from flows.tracking.checkout import check_own_code
from flows.tracking.heartbeat import heartbeat
from flows.tracking.lineage import file_md5, recorded_hashes
from flows.tracking.mlflow_log import RunLog, recorded_run
from flows.tracking.private_words import describe_error
from flows.tracking.resumed_runs import ResumableRun, fingerprint, lock_training

Work = Callable[..., Mapping[str, Any]]
SECTIONS = {field.alias or name: name for name, field in Settings.model_fields.items()}
STALE_VARIABLE = "DERMFLOW_STALE_STATE"  # refuse or set-aside


class Stage:
    """A stage of the pipeline: a plain function, with settings, an MLflow run and a metrics file around it."""

    def __init__(self, work: Work, metrics: str | None, resumes: bool) -> None:
        self.work = work
        self.resumes = resumes
        self.name = work.__name__
        self._metrics = metrics or self.name
        self.__doc__ = work.__doc__

    @cached_property
    def arguments(self) -> list[str]:
        """Names of the function's arguments."""
        return list(inspect.signature(self.work).parameters)

    @property
    def sections(self) -> list[str]:
        """The sections of params.yaml among the arguments."""
        return [name for name in self.arguments if name in SECTIONS]

    @property
    def varying(self) -> list[str]:
        """The matrix variables among the arguments, in the order of the command line."""
        return [name for name in self.arguments if name not in SECTIONS and name != "log"]

    def main(self) -> None:
        """`python -m flows.<stage> [varying ...]`: what dvc.yaml's cmd runs."""
        signal.signal(signal.SIGTERM, _interrupt)
        try:
            check_own_code()
            self.run(sys.argv[1:])
        except Exception as error:  # every one: with private data its message may not be printed
            sys.exit(f"{self.name}: {describe_error(error, self.name, private=_is_private())}")

    def run(self, words: list[str]) -> Mapping[str, Any]:
        """Run the function inside an MLflow run and write the metrics file.

        Args:
            words: the values of the matrix variables, as on the command line.

        Returns:
            The function's metrics, as the metrics file holds them.

        Raises:
            SettingsError: where the number of words is wrong.
        """
        if changes := changed_since_start():
            raise RunError(describe_changes(changes))
        state = StageState(self.name, self.sections)
        settings = load_settings()
        check_members(Path.cwd(), self.name)
        varying = self._parse(words)
        item = _item_name(varying)
        if not self.resumes:
            return self._record(settings, varying, item, state)
        if not leads(settings.compute):
            return self._call(settings, varying, SilentLog())
        folder = settings.paths.checkpoints / self.name / item
        with lock_training(folder), kept_until_end(folder):
            return self._record_training(settings, varying, item, state, folder)

    def _record_training(
        self, settings: Settings, varying: Mapping[str, Any], item: str, state: StageState, folder: Path
    ) -> Mapping[str, Any]:
        """As `_record`, resumed from the state in `folder`.

        A state of other settings is refused, or set aside where `sets_aside` allows it.
        """
        shown = {name: section for name, section in self._shown(settings).items() if name != "compute"}
        hashes = recorded_hashes()
        data = {str(path): hashes.get(str(path)) for path in (settings.dataset.path, settings.paths.split)}
        training = ResumableRun(folder, fingerprint({**shown, "data": data}))
        try:
            return self._record(settings, varying, item, state, training)
        except StaleStateError as error:
            if not sets_aside():
                raise
            print(f"{self.name}: {error}", flush=True)  # noqa: T201  # stages report on stdout
            print(f"{self.name}: set aside as {set_aside(folder)}, starting anew", flush=True)  # noqa: T201  # likewise
        return self._record(settings, varying, item, state, training)

    def _record(
        self,
        settings: Settings,
        varying: Mapping[str, Any],
        item: str,
        state: StageState,
        training: ResumableRun | None = None,
    ) -> Mapping[str, Any]:
        name = f"{self.name}@{item}" if item else self.name
        tags = {"stage": self.name, "item": item, **_text(varying)}
        with recorded_run(settings, name, tags, training) as log, heartbeat(log):
            log.settings({**_compared_by(settings, varying), **self._shown(settings)})
            began = time.monotonic()
            metrics = self._call(settings, varying, log)
            state.check()
            path = write_metrics(settings.paths.metrics / self._metrics, item, metrics)
            _log_result(log, metrics, path, time.monotonic() - began)
        return metrics

    def _call(self, settings: Settings, varying: Mapping[str, Any], log: Log) -> Mapping[str, Any]:
        given = {section: getattr(settings, SECTIONS[section]) for section in self.sections}
        return self.work(**given, **varying, **({"log": log} if "log" in self.arguments else {}))

    def _shown(self, settings: Settings) -> dict[str, Any]:
        """The sections among the arguments, for MLflow; without `paths`, which do not affect a result."""
        given = {section: getattr(settings, SECTIONS[section]) for section in self.sections if section != "paths"}
        return {name: to_jsonable_python(section, by_alias=False) for name, section in given.items()}

    def _parse(self, words: list[str]) -> dict[str, Any]:
        if len(words) != len(self.varying):
            raise SettingsError(f"python -m flows.{self.name} takes {self.varying}, got {words}; see dvc.yaml")
        hints = get_type_hints(self.work)
        pairs = zip(self.varying, words, strict=True)
        return {name: TypeAdapter(hints[name]).validate_python(word) for name, word in pairs}


@overload
def stage(work: Work) -> Stage: ...
@overload
def stage(*, metrics: str | None = None, resumes: bool = False) -> Callable[[Work], Stage]: ...
def stage(
    work: Work | None = None, *, metrics: str | None = None, resumes: bool = False
) -> Stage | Callable[[Work], Stage]:
    """Make a function a stage.

    Args:
        work: the function; it returns the stage's metrics.
        metrics: name of the metrics file, where it is not the function's name.
        resumes: whether the function can resume from the folder `<paths.checkpoints>/<stage>/<item>`.
    """
    if work is None:
        return lambda function: Stage(function, metrics, resumes)
    return Stage(work, metrics, resumes)


def leads(compute: Compute) -> bool:
    """Whether this process logs and writes: the one with rank 0 among those that torchrun or Lightning started.

    Raises:
        SettingsError: where torchrun started another number of processes than params.yaml has devices.
    """
    world, started = compute.devices * compute.num_nodes, os.environ.get("WORLD_SIZE", "1")
    if "TORCHELASTIC_RUN_ID" in os.environ and int(started) != world:
        raise SettingsError(
            f"torchrun started {started} processes, compute.devices x compute.num_nodes is {world}: "
            "give torchrun the same --nproc-per-node and --nnodes as params.yaml, or change params.yaml"
        )
    if world == 1:
        return True
    from components.training.session import (
        find_rank,
    )  # here, since torch takes seconds to import and most stages do not need it

    return find_rank(compute.devices, compute.num_nodes) == 0


def sets_aside() -> bool:
    """Whether a resume state of other settings is set aside; otherwise the stage refuses to start.

    DERMFLOW_STALE_STATE decides; by default a run that Prefect started sets it aside, as no user can decide there.

    Raises:
        SettingsError: where the variable has another value than refuse or set-aside.
    """
    unattended = "PREFECT__FLOW_RUN_ID" in os.environ  # set by Prefect's runner and workers, not by `dermflow run`
    choice = os.environ.get(STALE_VARIABLE) or ("set-aside" if unattended else "refuse")
    if choice not in ("refuse", "set-aside"):
        raise SettingsError(f"{STALE_VARIABLE} is {choice!r}, expected refuse or set-aside")
    return choice == "set-aside"


def write_metrics(base: Path, item: str, metrics: Mapping[str, Any]) -> Path:
    """Write `<base>.json`, or `<base>/<item>.json` for an item of a matrix, and return its path.

    Raises:
        ValueError: where a metric is not finite.
    """
    path = base / f"{item}.json" if item else base.with_suffix(".json")
    write_text(path, json.dumps(metrics, indent=2, allow_nan=False) + "\n")
    return path


def _item_name(varying: Mapping[str, Any]) -> str:
    """The item of dvc.yaml's matrix, as files and MLflow name it: a `RunId` for runs of fine-tuning."""
    run = {"arm", "protocol", "seed"}
    if run <= varying.keys() <= run | {"share"}:
        return str(RunId(**varying))
    return "-".join(map(str, varying.values()))


def _log_result(log: RunLog, metrics: Mapping[str, Any], path: Path, seconds: float) -> None:
    """Log the metrics and their file; by the tag `made`, its md5, a later flow finds the run of a skipped stage."""
    numbers = {key: value for key, value in flat_keys(metrics, "/").items() if isinstance(value, (int, float))}
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    log.metrics({**numbers, "system/seconds": seconds, "system/peak_rss_gib": peak_kib / 2**20})
    log.artifact(path)
    log.tags({"made": file_md5(path)})


def _compared_by(settings: Settings, varying: Mapping[str, Any]) -> dict[str, Any]:
    """What MLflow's table and plots group an arm's runs by: arm, protocol, seed ... and backbone."""
    return {**varying, "backbone": settings.backbone.kind} if "arm" in varying else {}


def _text(values: Mapping[str, Any]) -> dict[str, str]:
    return {key: str(value) for key, value in values.items()}


def _is_private() -> bool:
    """Whether the data set's own words stay on this host; settings that cannot be read contain none."""
    try:
        return load_settings().privacy.key == "secret"
    except SettingsError:
        return False


def _interrupt(_signal: int, _frame: FrameType | None) -> NoReturn:
    """Handle SIGTERM like Ctrl-C, so that the MLflow run is closed as KILLED."""
    raise KeyboardInterrupt
