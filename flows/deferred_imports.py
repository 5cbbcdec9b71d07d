"""torch._dynamo, the compiler behind torch.compile, is loaded when something is compiled and not before.

A process that only uses torchvision, timm, Lightning or an optimizer would load it: they ask it for four names, to
mark what may not be compiled or to recognise what has been. That takes a quarter of the time in which a training
starts, in each of the dozens of processes of a study, none of which compiles anything on a CPU. There is no other way
to avoid it: torchvision.ops and Lightning take the names when they are imported, torch.optim when an optimizer is made.

So `import torch._dynamo` gives a placeholder with these names. Whatever else is asked of it, by torch.compile or
torch.export, loads the real module in its place, and from then on the four names do what the real ones do. Later
imports, of its submodules too, never see the placeholder again.
"""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any, cast

DYNAMO = "torch._dynamo"
UTILS = f"{DYNAMO}.utils"


def defer_dynamo() -> None:
    """From now on an import of torch._dynamo is deferred; nothing happens where it is loaded or deferred already."""
    if DYNAMO not in sys.modules and not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


def load_dynamo() -> ModuleType:
    """The real module, which takes the placeholder's place."""
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _Finder)]
    for name in (DYNAMO, UTILS):
        if isinstance(sys.modules.get(name), _Placeholder):
            del sys.modules[name]
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(vars(torch).get("_dynamo"), _Placeholder):
        del torch._dynamo  # the real one refers to itself by this name while it is loaded
    return importlib.import_module(DYNAMO)


def _loaded() -> ModuleType | None:
    """The real module if something has loaded it."""
    found = sys.modules.get(DYNAMO)
    return None if isinstance(found, _Placeholder) else found


class _Placeholder(ModuleType):
    """Answers the four names; for any other, the real module is loaded and answers."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # the import system asks for these of every module
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        load_dynamo()
        return getattr(importlib.import_module(self.__name__), name)


class _Recognised(type):
    """Nothing is an OptimizedModule as long as nothing was compiled."""

    def __instancecheck__(cls, instance: object) -> bool:
        real = _loaded()
        return real is not None and isinstance(instance, real.OptimizedModule)


class OptimizedModule(metaclass=_Recognised):
    """Stands for the class of compiled modules in Lightning's checks."""


def disable(fn: Callable[..., Any] | None = None, recursive: bool = True, **options: Any) -> Any:
    """As torch._dynamo.disable: the function is never compiled; marked as such once there is a compiler."""
    if not callable(fn) or isinstance(fn, type) or _loaded() is not None:
        return load_dynamo().disable(fn, recursive, **options)
    function = fn
    marked: list[Callable[..., Any]] = []

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        real = _loaded()
        if real is None:
            return function(*args, **kwargs)
        if not marked:
            marked.append(real.disable(function, recursive, **options))
        return marked[0](*args, **kwargs)

    return call


def graph_break(*words: Any, **options: Any) -> None:
    """As torch._dynamo.graph_break: a mark for the compiler, without effect otherwise."""
    if (real := _loaded()) is not None:
        real.graph_break(*words, **options)


def is_compile_supported(device_type: str) -> bool:
    """As torch._dynamo.utils.is_compile_supported, which torchvision asks when it aligns regions."""
    load_dynamo()
    return bool(importlib.import_module(UTILS).is_compile_supported(device_type))


class _Finder(MetaPathFinder):
    """Finds the two placeholders; a search for another submodule loads the real package first."""

    def find_spec(self, name: str, path: Sequence[str] | None, _: ModuleType | None = None) -> ModuleSpec | None:
        if name in (DYNAMO, UTILS):
            spec = ModuleSpec(name, _PlaceholderLoader(), is_package=name == DYNAMO)
            if name == DYNAMO:
                spec.submodule_search_locations = [str(Path(folder) / "_dynamo") for folder in path or ()]
            return spec
        if not name.startswith(f"{DYNAMO}."):
            return None
        load_dynamo()
        found = sys.modules.get(name)  # executed a second time, it would exist twice
        return None if found is None else ModuleSpec(name, _LoadedLoader(found))


class _PlaceholderLoader(Loader):
    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Placeholder(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        names = [is_compile_supported] if module.__name__ == UTILS else [disable, graph_break, OptimizedModule]
        vars(module).update({cast(Any, given).__name__: given for given in names})


class _LoadedLoader(Loader):
    """Gives a module that is loaded already."""

    def __init__(self, module: ModuleType) -> None:
        self.module, self.spec = module, module.__spec__

    def create_module(self, _: ModuleSpec) -> ModuleType:
        return self.module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self.spec
