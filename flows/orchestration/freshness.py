"""Which code a stage's result is made by: the rule, and the command that writes it into dvc.yaml.

DVC runs a stage again when one of its `deps` changed, and it does not follow imports. So every file that a stage's
result depends on is listed in its deps. This module finds them: it follows the imports from `flows/STAGE.py`, adds the
templates that a page is made from, and of each family the members that the stage's settings name. A file that only
an alternative uses makes nothing stale.

`make graph` writes the deps of this repository's dvc.yaml; `dermflow use` does so when it changes params.yaml. A
test compares.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from components.base.errors import SettingsError
from components.base.files import whole
from flows.orchestration.code_graph import CodeGraph
from flows.orchestration.repeated_study import (
    FOLD,
    REPEATED,
    check_items,
    code_of_fold,
    method_folders,
    with_items,
)
from flows.places import PARAMS

DVC = Path("dvc.yaml")
BACKBONES, METHODS = "models.backbones", "pretraining"
ARCHITECTURE = "architecture.py"
"""A method's own backbone, in its folder: whatever loads weights needs it where an arm uses the method."""


@dataclass(frozen=True)
class Choice:
    """A setting that names members of a family, and how dvc.yaml writes the path of a member."""

    section: str  # of params.yaml
    family: str
    kind: str | None  # DVC's template of the one name; None where the setting is a list of names
    keys: tuple[str, ...] = ()  # below the section, to where the names are
    is_folder: bool = False  # whether each member is a folder
    hashed_by: str | None = None  # the one stage that depends on the member's files; others depend on what it writes

    @property
    def setting(self) -> str:
        """The dotted key in params.yaml."""
        return ".".join((self.section, *self.keys))

    @property
    def home(self) -> str:
        """The family's folder, relative to the root."""
        return f"components/{self.family.replace('.', '/')}"

    @property
    def suffix(self) -> str:
        """What follows a member's name in its path."""
        return "" if self.is_folder else ".py"


CHOICES = (
    Choice("dataset", "data.adapters", "${dataset.kind}"),
    Choice("external", "data.adapters", "${item.cohort.dataset.kind}"),
    Choice("backbone", BACKBONES, "${backbone.kind}"),
    Choice("pretrain", METHODS, "${item.kind}", ("arms",), is_folder=True, hashed_by="method"),
    Choice("evaluate", "statistics.metrics", None, ("metrics",)),
    Choice("compare", "comparison.figures", None, ("figures",)),
    Choice("robustness", "robustness.corruptions", None, ("corruptions",)),
)
"""DVC fills in a template for one name, but not for each name of a list: those are written out."""


@dataclass(frozen=True)
class StageEntry:
    """One stage as dvc.yaml writes it; the group of a matrix or of a foreach counts as one."""

    name: str
    content: Mapping[str, Any]

    @cached_property
    def body(self) -> Mapping[str, Any]:
        """The part under `do` of a foreach, else the entry itself."""
        body: Mapping[str, Any] = self.content.get("do", self.content)
        return body

    def choices(self) -> list[Choice]:
        """The choices that its params hold, whole or in part; those of an item where the stage has items.

        A fold has none of its own: the stages that it repeats have them.
        """
        if self.name == FOLD:
            return []
        keys = [f"{key}." for key in self.body.get("params", ())]
        has_items = not {"matrix", "foreach"}.isdisjoint(self.content)
        return [
            c
            for c in CHOICES
            if (has_items or "${item." not in (c.kind or ""))
            and any(f"{c.setting}.".startswith(key) or key.startswith(f"{c.setting}.") for key in keys)
        ]

    @property
    def shows_figures(self) -> bool:
        """Whether it writes a page; elsewhere figures go to MLflow alone, and their change makes nothing stale."""
        outs = [next(iter(out)) if isinstance(out, dict) else out for out in self.body.get("outs", ())]
        return any(str(out).endswith(".html") for out in outs)


def code_of(graph: CodeGraph, stage: StageEntry, settings: Mapping[str, Any]) -> list[str]:
    """The code part of a stage's deps, sorted: paths relative to the root, with DVC's templates for chosen members.

    What members of a family import counts for all of them where dvc.yaml names the chosen one by a template, so that
    dvc.yaml is the same for every choice. Where one stage hashes the members of a family, it alone lists them, and it
    does not run what they import.

    Args:
        graph: the repository.
        stage: its entry in dvc.yaml.
        settings: params.yaml as plain values: which members its lists name.
    """
    choices = stage.choices()
    used = [choice for choice in choices if choice.hashed_by != stage.name]
    listed = [choice for choice in choices if choice.hashed_by in (None, stage.name)]
    own = {path for choice in used for path in _candidates(graph.root, choice, settings)}
    entry = graph.root / "flows" / f"{stage.name}.py"
    found = graph.closure([entry, *_python(own)], figures=stage.shows_figures)
    found -= {file for file in found for path in own if file == path or path in file.parents}
    found |= graph.closure(own_architectures(graph.root, stage, settings), figures=False)
    found |= graph.closure(named_backbones(graph.root, stage, settings), figures=False)
    written = {dep for choice in listed for dep in deps_of(choice, settings)}
    return sorted({path.relative_to(graph.root).as_posix() for path in found} | written)


def own_architectures(root: Path, stage: StageEntry, settings: Mapping[str, Any]) -> list[Path]:
    """Architectures that the study's pretraining methods bring, for a stage that loads weights with `backbone`.

    The stage that pretrains depends on the folders of the methods instead.
    """
    families = {choice.family for choice in stage.choices()}
    if BACKBONES not in families or METHODS in families:
        return []
    used = sorted({str(arm["kind"]) for arm in settings["pretrain"]["arms"].values()})
    home = root / "components" / METHODS
    return [file for kind in used if (file := home / kind / ARCHITECTURE).is_file()]


def named_backbones(root: Path, stage: StageEntry, settings: Mapping[str, Any]) -> list[Path]:
    """Backbones that settings of the arms name, such as that of a teacher, for the stage that pretrains.

    The backbone of the study is left out: dvc.yaml lists it by a template, and DVC refuses a file that is listed twice.
    """
    families = {choice.family for choice in stage.choices() if choice.hashed_by != stage.name}
    if METHODS not in families:
        return []
    home = root / "components" / BACKBONES.replace(".", "/")
    kinds = {str(kind) for arm in settings["pretrain"]["arms"].values() for kind in _kinds_below(arm)}
    others = sorted(kinds - {settings["backbone"]["kind"]})
    return [file for kind in others if (file := home / f"{kind}.py").is_file()]


def _kinds_below(values: Mapping[str, Any]) -> Iterator[object]:
    """Every `kind` of the sections within a section."""
    for value in values.values():
        if isinstance(value, Mapping):
            yield from (value["kind"],) if "kind" in value else ()
            yield from _kinds_below(value)


def deps_of(choice: Choice, settings: Mapping[str, Any]) -> list[str]:
    """The members of a choice as dvc.yaml writes them."""
    names = [choice.kind] if choice.kind is not None else names_of(choice, settings)
    return [f"{choice.home}/{name}{choice.suffix}" for name in names]


def names_of(choice: Choice, settings: Mapping[str, Any]) -> list[str]:
    """The names in a list of params.yaml."""
    value: Any = settings[choice.section]
    for key in choice.keys:
        value = value[key]
    return [str(name) for name in value]


def _candidates(root: Path, choice: Choice, settings: Mapping[str, Any]) -> list[Path]:
    """Files or folders of the members that a stage may use: those of a list, or any that the one name may be."""
    if choice.kind is None:
        return [root / dep for dep in deps_of(choice, settings)]
    home = root / choice.home
    return sorted(path for path in home.iterdir() if (path / "__init__.py").is_file() or _is_member(path))


def _is_member(path: Path) -> bool:
    return path.suffix == ".py" and path.name != "__init__.py"


def _python(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        yield from sorted(path.rglob("*.py")) if path.is_dir() else [path]


# --- dvc.yaml


def read_stages(root: Path) -> list[StageEntry]:
    """The stages of a checkout's dvc.yaml in its order."""
    content = YAML(typ="safe").load((root / DVC).read_text("utf-8"))["stages"]
    return [StageEntry(name, entry) for name, entry in content.items()]


def with_code(text: str, root: Path, settings: Mapping[str, Any]) -> str:
    """dvc.yaml's text with the code in each stage's deps replaced by what `code_of` finds; all else is kept."""
    graph = CodeGraph(root)
    entries = YAML(typ="safe").load(text)["stages"]
    code = {name: code_of(graph, StageEntry(name, entry), settings) for name, entry in entries.items()}
    if FOLD in code:
        code[FOLD] = code_of_fold(code[FOLD], code, settings, _methods())
    out: list[str] = []
    stage, indent = "", -1
    for line in text.splitlines():
        if found := re.match(r"  (\w+):", line):
            stage = found[1]
        if indent >= 0 and not re.match(rf" {{{indent}}}- ", line):
            out += [f"{' ' * indent}- {dep}" for dep in code[stage]]
            indent = -1
        if indent < 0 or not re.match(r"\s*- (?:flows|components)/", line):
            out.append(with_items(line, stage, settings))
        if found := re.match(r"( +)deps:\s*$", line):
            indent = len(found[1]) + 2
    return "\n".join(out) + "\n"


def write_graph(root: Path) -> bool:
    """Bring the deps of a checkout's dvc.yaml up to date with code and params.yaml; True where that changed it."""
    before = (root / DVC).read_text("utf-8")
    after = with_code(before, root, read_params(root))
    if after != before:
        with whole(root / DVC) as part:
            part.write_text(after, "utf-8")
    return after != before


def check_members(root: Path, stage: str | None = None) -> None:
    """Refuse to run where a list in params.yaml names a member that dvc.yaml lacks: its changes would be missed.

    Args:
        root: the checkout; one without dvc.yaml passes.
        stage: only this stage; None checks all.

    Raises:
        SettingsError: with the setting, the file and the command that fixes it.
    """
    if not (root / DVC).is_file():
        return
    settings, entries = read_params(root), read_stages(root)
    for entry in entries:
        if stage not in (None, entry.name):
            continue
        check_items(entry.name, entry.content, settings)
        repeated = [each for each in entries if each.name in REPEATED] if entry.name == FOLD else []
        for path, member, setting in (
            member for each in (entry, *repeated) for member in _listed(root, each, settings)
        ):
            _check_listed(path, member, setting, entry)
        for path in method_folders(settings, _methods()) if repeated else ():
            _check_listed(path, Path(path).name, "pretrain.arms", entry)


def _listed(root: Path, entry: StageEntry, settings: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Path, name and setting of each member that dvc.yaml must list by its name."""
    for choice in entry.choices():
        if choice.kind is None:
            yield from ((path, Path(path).stem, choice.setting) for path in deps_of(choice, settings))
    for file in own_architectures(root, entry, settings):
        yield file.relative_to(root).as_posix(), file.parent.name, "pretrain.arms"
    for file in named_backbones(root, entry, settings):
        yield file.relative_to(root).as_posix(), file.stem, "pretrain.arms"


def _methods() -> str:
    """The path of an arm's pretraining method, as dvc.yaml writes it for the stage that hashes it."""
    (path,) = (path for choice in CHOICES if choice.hashed_by for path in deps_of(choice, {}))
    return path


def _check_listed(path: str, member: str, setting: str, entry: StageEntry) -> None:
    if path not in entry.body["deps"]:
        raise SettingsError(
            f"{setting} (params.yaml) names {member!r}, but {DVC} does not list {path} in the deps of {entry.name}: "
            "run `make graph`"
        )


def read_params(root: Path) -> dict[str, Any]:
    """A checkout's params.yaml as plain values."""
    values: dict[str, Any] = YAML(typ="safe").load((root / PARAMS).read_text("utf-8"))
    return values


def main() -> None:
    """Write this repository's dvc.yaml (`make graph`)."""
    changed = write_graph(Path.cwd())
    print(f"{DVC}: {'deps written' if changed else 'deps are up to date'}")  # noqa: T201  # the command's answer


if __name__ == "__main__":
    main()
