"""The state that all stages of a run use: settings, graph and code as they were when the run started.

DVC and every stage read params.yaml, dvc.yaml and code anew, and DVC records after a stage what the files hold then. So
an edit during a run would give later stages other settings than earlier ones, and would be recorded as what made the
output of the stage that was running. A run compares before each stage, and a stage compares when it starts and ends.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from components.base.errors import RunError
from components.base.files import write_text
from flows.orchestration.code_graph import PACKAGES
from flows.orchestration.freshness import DVC, read_stages
from flows.orchestration.processes import STATE
from flows.places import PARAMS

RUN_STATE = STATE / "run_state.json"
VARIABLE = "DERMFLOW_RUN_STATE"  # path of the run's state, for the processes of its stages
SUFFIXES = (".py", ".j2", ".css", ".js")
UNRECORDED = ("compute", "scan")
"""Sections of params.yaml that DVC does not record with a stage."""

SHOWN = 60  # characters of a value in a message


@dataclass(frozen=True)
class RunState:
    """What decides the results of stages, besides the data."""

    texts: Mapping[str, str]
    """Of params.yaml and dvc.yaml, by path; a file that does not exist is left out."""
    code: Mapping[str, str]
    """Path -> sha256 of files of code and templates."""

    @classmethod
    def read(cls, code: Iterable[str]) -> RunState:
        """The present state of the checkout in the current folder, with the hashes of these files."""
        texts = {str(path): path.read_text("utf-8") for path in (PARAMS, DVC) if path.is_file()}
        return cls(texts, {name: _sha256(Path(name)) for name in code})

    def write(self, path: Path) -> None:
        """Keep the state in a file, for `changed_since_start`."""
        write_text(path, json.dumps(asdict(self)))

    def changes(self) -> list[str]:
        """What differs now, one line each: a setting with both values, or a file. Comments are no difference."""
        now = RunState.read(self.code)
        settings = [
            f"{name}: {change}"
            for name, text in self.texts.items()
            for change in _changed_values(text, now.texts.get(name, ""))
        ]
        return settings + [f"{name}: its content" for name, digest in self.code.items() if now.code[name] != digest]


def changed_since_start() -> list[str]:
    """What changed since the run of this stage's process started; empty for a stage that no run started."""
    path = os.environ.get(VARIABLE)
    if not path:
        return []
    try:
        started = RunState(**json.loads(Path(path).read_text("utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise RunError(
            f"{VARIABLE} = {path} cannot be read ({error}), expected the state of the run that set it; "
            f"unset {VARIABLE} to start a stage by hand"
        ) from error
    return started.changes()


class StageState:
    """What DVC records with a stage, as it was when the stage's process started."""

    def __init__(self, stage: str, sections: Collection[str], *, by_other_processes: bool = False) -> None:
        """Read the present state.

        Args:
            stage: its name in dvc.yaml.
            sections: of params.yaml, or keys in them, those that the stage uses.
            by_other_processes: whether other processes use the code in the stage's deps; otherwise what this process
                has not imported makes no difference.
        """
        self._all_code = by_other_processes
        self._sections = [section for section in sections if section not in UNRECORDED]
        self._start = RunState.read(_code_of(stage))

    def check(self) -> None:
        """Refuse the stage's output where DVC would record other settings or code than those that made it.

        Raises:
            RunError: names each change.
        """
        used = {path for path in self._start.code if self._all_code} | _loaded()
        wanted = tuple(f"{PARAMS}: {section}{end}" for section in self._sections for end in (":", "."))
        changes = [
            change
            for change in self._start.changes()
            if change.startswith(wanted) or (path := change.split(": ")[0]) in used or path.endswith(SUFFIXES[1:])
        ]
        if changes:
            raise RunError(
                f"changed while this stage ran:\n{indented(changes)}\nDVC would record the new state as the one that "
                "made the output, so the output is not accepted. Restore the former state, or keep the new one, and "
                "run again"
            )


def describe_changes(changes: Iterable[str]) -> str:
    """The message of a run that stops because its state changed."""
    return (
        f"changed after this run started, and all stages of a run must use the same state:\n{indented(changes)}\n"
        "No further stage starts; finished stages are kept. Restore the former state and run again to finish this "
        "study, or run again as it is now: the stages that the change affects run again. To prepare the next study "
        "during a run, use a second clone"
    )


def indented(lines: Iterable[str]) -> str:
    """Lines under a message."""
    return "\n".join(f"  {line}" for line in lines)


def code_sha256(stage: str) -> str:
    """Hash of the code that a stage's deps in dvc.yaml name, without the members of families that settings choose.

    Equal for all items of the stage's matrix unless DVC would call some of them stale.
    """
    digest = hashlib.sha256()
    for name in _code_of(stage, families=False):
        digest.update(f"{name} {_sha256(Path(name))}\n".encode())
    return digest.hexdigest()


def _code_of(stage: str, *, families: bool = True) -> list[str]:
    """Files of code in the stage's deps in dvc.yaml.

    Args:
        stage: its name.
        families: a dep with a setting such as `${dataset.kind}` stands for all members; otherwise it is left out.
    """
    if not DVC.is_file():
        return []
    deps = [str(dep) for entry in read_stages(Path()) if entry.name == stage for dep in entry.body.get("deps", ())]
    named = [dep for dep in deps if dep.startswith(PACKAGES) and (families or "${" not in dep)]
    patterns = [re.sub(r"\$\{[^}]*\}", "*", dep) for dep in named]
    return [
        name
        for name in _code_files()
        if any(fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}/*") for pattern in patterns)
    ]


def files_below(paths: Iterable[str]) -> list[str]:
    """The files of code that paths of the checkout name: files, or folders with all below them."""
    wanted = set(paths)
    return [
        name for name in _code_files() if name in wanted or any(str(above) in wanted for above in Path(name).parents)
    ]


def _code_files() -> Iterator[str]:
    """Every file of code and every template of the checkout, POSIX."""
    for package in PACKAGES:
        yield from sorted(path.as_posix() for path in Path(package).rglob("*") if path.suffix in SUFFIXES)


def _loaded() -> set[str]:
    """Files of the checkout that this process has imported, relative to it."""
    here = Path.cwd().resolve()
    files = [Path(file).resolve() for module in list(sys.modules.values()) if (file := getattr(module, "__file__", ""))]
    return {file.relative_to(here).as_posix() for file in files if file.is_relative_to(here)}


def _sha256(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return "none"


def _changed_values(before: str, after: str) -> list[str]:
    """`key: old -> new` of each value that differs between two YAML texts."""
    if before == after:
        return []
    try:
        old, new = (YAML(typ="safe").load(text) for text in (before, after))
    except YAMLError:
        return ["it is no YAML any more"]
    return list(_differences(old, new, ""))


def _differences(old: Any, new: Any, key: str) -> Iterator[str]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in dict.fromkeys([*old, *new]):
            yield from _differences(old.get(name), new.get(name), f"{key}.{name}" if key else str(name))
    elif old != new:
        yield f"{key}: {_short(old)} -> {_short(new)}" if key else "its content"


def _short(value: Any) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]} ..."
