"""The repository's modules, what each imports, and which of them make no result; read from the source.

`flows.orchestration.freshness` writes the deps of dvc.yaml from it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

PACKAGES = ("flows", "components")

NO_EFFECT = (
    "components.base.errors",  # messages
    "components.base.log",  # the terminal
    "components.base.config",  # how settings are checked: their values are params
    "components.base.families",
    "components.base.fields",
    "components.base.home",
    "components.data.column_guess",  # what `dermflow init` proposes to a person
    "components.data.diagnosis_words",
    "components.data.first_look",
    "components.validation.executors",  # where a scan runs, and what it remembers
    "components.validation.scan_cache",
    "flows.cross_validation",  # where a fold runs: the stages that run there are in its deps
    "flows.deferred_imports",  # when a library is loaded
    "flows.orchestration.graph",
    "flows.places",
    "flows.presets",
    "flows.reproduction",
    "flows.settings",
    "flows.stage",  # how a stage is run and logged
    "flows.tracking",
    "flows.warm_start",  # where a stage starts
)
"""Modules and packages whose change makes no result stale; so does no module named `settings`."""

INCLUDED = re.compile(r"""(?:include|extends|import|from) ["']([\w./]+)["']""")
TEMPLATE = re.compile(r"[\w/.]+\.(?:j2|css|js)")


class CodeGraph:
    """The repository's modules and what each imports, read from the source; nothing is imported."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._trees: dict[Path, ast.Module] = {}
        self._imports: dict[Path, frozenset[str]] = {}
        self._needs: dict[tuple[Path, bool], list[Path]] = {}

    def closure(self, files: Iterable[Path], *, figures: bool) -> set[Path]:
        """All files that `files` need, themselves included; modules of figures only where `figures` is True."""
        found: set[Path] = set()
        waiting = list(files)
        while waiting:
            path = waiting.pop()
            if path in found:
                continue
            found.add(path)
            if (path, figures) not in self._needs:
                self._needs[path, figures] = self._needed_by(path, figures)
            waiting += self._needs[path, figures]
        return found

    def _needed_by(self, path: Path, figures: bool) -> list[Path]:
        if path.suffix != ".py":
            return self._included(path)
        return self._templates(path) + [file for name in self.imports(path) for file in self._files(name, figures)]

    def imports(self, path: Path) -> frozenset[str]:
        """Names of this repository's modules that a file imports anywhere in it, but for typing alone."""
        if path not in self._imports:
            self._imports[path] = frozenset(_imports(self._tree(path)))
        return self._imports[path]

    def _tree(self, path: Path) -> ast.Module:
        if path not in self._trees:
            self._trees[path] = ast.parse(path.read_text("utf-8"))
        return self._trees[path]

    def _files(self, module: str, figures: bool) -> Iterator[Path]:
        """The module's own file and the `__init__.py` of packages on the way, where these hold code."""
        if _has_no_effect(module) or (not figures and _is_figure(module)):
            return
        parts = module.split(".")
        for length in range(2, len(parts) + 1):  # the two roots hold no code that makes a result
            base = self.root.joinpath(*parts[:length])
            package, file = base / "__init__.py", base.with_suffix(".py")
            if package.is_file() and _holds_code(self._tree(package)):
                yield package
            if file.is_file():
                yield file

    def _templates(self, path: Path) -> list[Path]:
        """Templates that a module names in a string without other text, as `render("comparison/page.html.j2")` does."""
        texts = (node.value for node in ast.walk(self._tree(path)) if isinstance(node, ast.Constant))
        names = {text for text in texts if isinstance(text, str) and TEMPLATE.fullmatch(text)}
        return [file for name in sorted(names) if (file := self.root / "components" / name).is_file()]

    def _included(self, template: Path) -> list[Path]:
        names = INCLUDED.findall(template.read_text("utf-8"))
        return [file for name in names if (file := self.root / "components" / name).is_file()]


def _imports(tree: ast.Module) -> Iterator[str]:
    for_typing = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if node in for_typing:
            continue
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        yield from (name for name in names if name.split(".")[0] in PACKAGES)


def _has_no_effect(module: str) -> bool:
    return "settings" in module.split(".") or any(
        module == other or module.startswith(f"{other}.") for other in NO_EFFECT
    )


def _is_figure(module: str) -> bool:
    return not {"figures", "figure"}.isdisjoint(module.split("."))


def _holds_code(tree: ast.Module) -> bool:
    """Whether a file is more than its docstring."""
    return any(not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)) for node in tree.body)
