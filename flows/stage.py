"""@stage: typed settings in, one MLflow run, metrics file out; the same for every stage of dvc.yaml.

A stage's arguments say what it takes: a section of params.yaml by its name, `log`, and what dvc.yaml's matrix
varies (arm, protocol, seed), which comes from the command line in order. A stage that `resumes` may be killed at any
moment: the same command goes on from its resume state, in the same MLflow run. Where several processes train
together, each runs the stage, and one of them tells and writes.
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

from components.base.errors import DermflowError, SettingsError
from components.base.log import Log, SilentLog
from components.training.checkpoints import StaleStateError, kept_until_end, set_aside
from flows.settings import Settings, load_settings
from flows.settings.study import Compute
from flows.tracking.lineage import file_md5, recorded_hashes
from flows.tracking.mlflow_log import RunLog, flatten, recorded_run
from flows.tracking.resumed_runs import Training, identify, only_process

Work = Callable[..., Mapping[str, Any]]
SECTIONS = {field.alias or name: name for name, field in Settings.model_fields.items()}
STALE_VARIABLE = "DERMFLOW_STALE_STATE"  # refuse or set-aside


class Stage:
    """A verb of the pipeline: a plain function, and what running it as a stage adds."""

    def __init__(self, work: Work, metrics: str | None, resumes: bool) -> None:
        self.work = work
        self.resumes = resumes
        self.name = work.__name__
        self._metrics = metrics or self.name
        self.__doc__ = work.__doc__

    @cached_property
    def arguments(self) -> list[str]:
        """The function's arguments by name."""
        return list(inspect.signature(self.work).parameters)

    @property
    def sections(self) -> list[str]:
        """The sections of params.yaml that it takes."""
        return [name for name in self.arguments if name in SECTIONS]

    @property
    def varying(self) -> list[str]:
        """What the matrix varies, in the order of the command line."""
        return [name for name in self.arguments if name not in SECTIONS and name != "log"]

    def main(self) -> None:
        """`python -m flows.<stage> [varying ...]`: what dvc.yaml's cmd runs."""
        signal.signal(signal.SIGTERM, _interrupt)
        try:
            self.run(sys.argv[1:])
        except DermflowError as error:
            sys.exit(f"{self.name}: {type(error).__name__}: {error}")

    def run(self, words: list[str]) -> Mapping[str, Any]:
        """Bind settings and words to arguments, do the work inside an MLflow run, write the metrics file."""
        settings = load_settings()
        varying = self._parse(words)
        item = "-".join(words)
        if not self.resumes:
            return self._record(settings, varying, item)
        if not leads(settings.compute):
            return self._do(settings, varying, SilentLog())
        folder = settings.paths.checkpoints / self.name / item
        with only_process(folder), kept_until_end(folder):
            return self._record_training(settings, varying, item, folder)

    def _record_training(
        self, settings: Settings, varying: Mapping[str, Any], item: str, folder: Path
    ) -> Mapping[str, Any]:
        """As `_record`, going on from what is in `folder`, or without it where nobody is there to decide."""
        shown = {name: section for name, section in self._shown(settings).items() if name != "compute"}
        hashes = recorded_hashes()
        data = {str(path): hashes.get(str(path)) for path in (settings.dataset.path, settings.paths.split)}
        training = Training(folder, identify({**shown, "data": data}))
        try:
            return self._record(settings, varying, item, training)
        except StaleStateError as error:
            if not sets_aside():
                raise
            print(f"{self.name}: {error}", flush=True)  # noqa: T201  # the stage's voice is its stdout
            print(f"{self.name}: set aside as {set_aside(folder)}, starting anew", flush=True)  # noqa: T201  # likewise
        return self._record(settings, varying, item, training)

    def _record(
        self, settings: Settings, varying: Mapping[str, Any], item: str, training: Training | None = None
    ) -> Mapping[str, Any]:
        name = f"{self.name}@{item}" if item else self.name
        tags = {"stage": self.name, "item": item, **_text(varying)}
        with recorded_run(settings, name, tags, training) as log:
            log.settings(self._shown(settings))
            began = time.monotonic()
            metrics = self._do(settings, varying, log)
            path = write_metrics(settings.paths.metrics / self._metrics, item, metrics)
            _remember(log, metrics, path, time.monotonic() - began)
        return metrics

    def _do(self, settings: Settings, varying: Mapping[str, Any], log: Log) -> Mapping[str, Any]:
        given = {section: getattr(settings, SECTIONS[section]) for section in self.sections}
        return self.work(**given, **varying, **({"log": log} if "log" in self.arguments else {}))

    def _shown(self, settings: Settings) -> dict[str, Any]:
        """The sections that it takes, for MLflow; places are no part of what was done."""
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
    """Make a function a stage; `metrics` names its metrics file where that is not the function's name.

    One that `resumes` keeps its resume state in the folder `<paths.checkpoints>/<stage>/<item>`.
    """
    if work is None:
        return lambda function: Stage(function, metrics, resumes)
    return Stage(work, metrics, resumes)


def leads(compute: Compute) -> bool:
    """Whether this process is the one that tells and writes, of those that torchrun or Lightning started."""
    world, started = compute.devices * compute.num_nodes, os.environ.get("WORLD_SIZE", "1")
    if "TORCHELASTIC_RUN_ID" in os.environ and int(started) != world:
        raise SettingsError(
            f"torchrun started {started} processes, compute.devices x compute.num_nodes is {world}: "
            "give torchrun --nproc-per-node and --nnodes as params.yaml says, or set them there"
        )
    if world == 1:
        return True
    from components.training.session import find_rank  # torch takes seconds, and other stages need none

    return find_rank(compute.devices, compute.num_nodes) == 0


def sets_aside() -> bool:
    """Whether a resume state of other settings gives way: where Prefect started the run, nobody is there to ask."""
    unattended = "PREFECT__FLOW_RUN_ID" in os.environ  # set by Prefect's runner and workers, not by `dermflow run`
    choice = os.environ.get(STALE_VARIABLE) or ("set-aside" if unattended else "refuse")
    if choice not in ("refuse", "set-aside"):
        raise SettingsError(f"{STALE_VARIABLE} is {choice!r}, expected refuse or set-aside")
    return choice == "set-aside"


def write_metrics(base: Path, item: str, metrics: Mapping[str, Any]) -> Path:
    """`<base>.json`, or `<base>/<item>.json` for one of a matrix; written whole and moved into place."""
    path = base / f"{item}.json" if item else base.with_suffix(".json")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".json.part")
    temporary.write_text(json.dumps(metrics, indent=2, allow_nan=False) + "\n")
    temporary.replace(path)
    return path


def _remember(log: RunLog, metrics: Mapping[str, Any], path: Path, seconds: float) -> None:
    """Numbers and file to MLflow; `made` is how a later flow finds the run of a stage that it skips."""
    numbers = {key: value for key, value in flatten(metrics, "/").items() if isinstance(value, (int, float))}
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    log.metrics({**numbers, "system/seconds": seconds, "system/peak_rss_gib": peak_kib / 2**20})
    log.artifact(path)
    log.tags({"made": file_md5(path)})


def _text(values: Mapping[str, Any]) -> dict[str, str]:
    return {key: str(value) for key, value in values.items()}


def _interrupt(_signal: int, _frame: FrameType | None) -> NoReturn:
    """SIGTERM ends like Ctrl-C, so that the run is closed as KILLED."""
    raise KeyboardInterrupt
