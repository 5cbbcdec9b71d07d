"""@stage: typed settings in, one MLflow run, metrics file out; the same for every stage of dvc.yaml.

A stage's arguments say what it takes: a section of params.yaml by its name, `log`, and what dvc.yaml's matrix
varies (arm, protocol, seed), which comes from the command line in order.
"""

from __future__ import annotations

import inspect
import json
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

from components.errors import DermflowError, SettingsError
from flows.lineage import file_md5
from flows.settings import Settings, load_settings
from flows.tracking import RunLog, flatten, recorded_run

Work = Callable[..., Mapping[str, Any]]
SECTIONS = {field.alias or name: name for name, field in Settings.model_fields.items()}


class Stage:
    """A verb of the pipeline: a plain function, and what running it as a stage adds."""

    def __init__(self, work: Work, metrics: str | None) -> None:
        self.work = work
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
        name = f"{self.name}@{item}" if item else self.name
        with recorded_run(settings, name, {"stage": self.name, "item": item, **_text(varying)}) as log:
            given = {section: getattr(settings, SECTIONS[section]) for section in self.sections}
            log.settings({key: value.model_dump(mode="json") for key, value in given.items() if key != "paths"})
            began = time.monotonic()
            metrics = self.work(**given, **varying, **({"log": log} if "log" in self.arguments else {}))
            path = write_metrics(settings.paths.metrics / self._metrics, item, metrics)
            _remember(log, metrics, path, time.monotonic() - began)
        return metrics

    def _parse(self, words: list[str]) -> dict[str, Any]:
        if len(words) != len(self.varying):
            raise SettingsError(f"python -m flows.{self.name} takes {self.varying}, got {words}; see dvc.yaml")
        hints = get_type_hints(self.work)
        pairs = zip(self.varying, words, strict=True)
        return {name: TypeAdapter(hints[name]).validate_python(word) for name, word in pairs}


@overload
def stage(work: Work) -> Stage: ...
@overload
def stage(*, metrics: str) -> Callable[[Work], Stage]: ...
def stage(work: Work | None = None, *, metrics: str | None = None) -> Stage | Callable[[Work], Stage]:
    """Make a function a stage; `metrics` names its metrics file where that is not the function's name."""
    if work is None:
        return lambda function: Stage(function, metrics)
    return Stage(work, metrics)


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
