"""The graph as DVC sees it: what dvc.yaml says, and what is fresh; no stage is named here.

Uses DVC's Python API (`Repo().index.graph`, `Stage.changed`), checked on dvc 3.67, hence the pin.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Iterator
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from components.base.errors import RunError
from components.base.files import whole
from flows.orchestration.code_graph import PACKAGES
from flows.orchestration.freshness import DVC
from flows.places import PARAMS
from flows.tracking.lineage import LOCK

_ONE_AT_A_TIME = threading.Lock()  # DVC's state and locks are not made for threads


@dataclass(frozen=True)
class Node:
    """A stage of dvc.yaml or a `.dvc` file: its address, the kind that policy goes by, and what it waits for."""

    address: str
    kind: str
    upstream: tuple[str, ...]
    results: tuple[str, ...]  # what it wrote for people and git to read, its metrics file among them
    command: str  # empty for a `.dvc` file
    code: tuple[str, ...] = ()  # files and folders of this repository's code among its deps


@contextmanager
def _open_repo(root: Path | None = None) -> Iterator[Any]:
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    with _ONE_AT_A_TIME:
        try:
            with chdir(root or "."), Repo(_wait_for_lock=True) as repo:  # addresses are relative to the folder
                yield repo
        except DvcException as error:
            raise RunError(f"dvc: {error}") from error


def read_graph(root: Path | None = None) -> list[Node]:
    """Every node in the order in which `dvc repro` would run them; `root` is another checkout than this."""
    from dvc.repo.reproduce import plan_repro

    with _open_repo(root) as repo:
        graph = repo.index.graph
        return [_node(graph, stage) for stage in plan_repro(graph)]


def _node(graph: Any, stage: Any) -> Node:
    address = str(stage.addressing)
    upstream = tuple(str(other.addressing) for other in graph.successors(stage))
    results = tuple(str(out) for out in stage.outs if not out.use_cache)
    code = tuple(path for dep in stage.deps if (path := str(dep)).startswith(tuple(f"{name}/" for name in PACKAGES)))
    return Node(address, address.split("@")[0], upstream, results, stage.cmd or "", code)


def upstream_of(nodes: Iterable[Node], target: Node | None) -> list[str]:
    """Addresses of a stage and of all stages upstream, in running order; of the whole graph for None."""
    known = {node.address: node for node in nodes}
    if target is None:
        return list(known)
    wanted, waiting = set(), [target.address]
    while waiting:
        address = waiting.pop()
        if address not in wanted:
            wanted.add(address)
            waiting += known[address].upstream
    return [address for address in known if address in wanted]


def hash_path(root: Path, path: Path) -> str | None:
    """DVC's md5 of a file or folder in its present state, by the rules of a checkout; None where there is nothing."""
    from dvc.fs import LocalFileSystem
    from dvc_data.hashfile.build import build

    place = (root / path).resolve()  # DVC would not see that a/../b is b
    if not place.exists():
        return None
    with _open_repo(root) as repo:
        _, _, found = build(repo.cache.local, str(place), LocalFileSystem(), "md5", ignore=repo.dvcignore, dry_run=True)
        return str(found.hash_info.value)


def cache_folder(root: Path) -> Path:
    """Where a checkout's DVC keeps files by their md5, wherever its configuration puts that."""
    with _open_repo(root) as repo:
        return Path(repo.cache.local.path)


@dataclass(frozen=True)
class DataFile:
    """A `.dvc` file: data that no stage makes."""

    address: str
    paths: tuple[str, ...]  # of the data, relative to the checkout
    imported: bool  # by `dvc import` or `dvc import-url`
    here: bool  # whether the data are in the checkout, as recorded


def data_files() -> list[DataFile]:
    """Every `.dvc` file of the checkout, with the present state of its data."""
    with _open_repo() as repo:
        return [
            DataFile(
                str(stage.addressing),
                tuple(str(out) for out in stage.outs),
                stage.is_import,
                not any(out.workspace_status() for out in stage.outs),
            )
            for stage in repo.index.stages
            if stage.is_data_source
        ]


def remotes() -> list[str]:
    """Names of DVC's remotes."""
    with _open_repo() as repo:
        return sorted(repo.config["remote"])


def is_changed(address: str) -> bool:
    """Whether `dvc repro` would run this stage now: its command, settings, inputs or outputs differ."""
    from dvc.exceptions import DvcException

    with _ONE_AT_A_TIME:
        try:
            index = _INDEX.read()
            with index.repo.lock:
                return any(stage.changed() for stage in index.stages if str(stage.addressing) == address)
        except DvcException as error:
            raise RunError(f"dvc: {error}") from error


def stale_nodes(nodes: Iterable[Node], working: Collection[str] = ()) -> dict[str, str | None]:
    """What `dvc repro` would run: address -> the stale one upstream that makes it stale, None where it is so itself.

    Args:
        nodes: in running order; what is upstream of one is among them.
        working: addresses of stages that run now. They are stale, and DVC, which holds them, is not asked.
    """
    stale: dict[str, str | None] = {}
    for node in nodes:
        upstream = sorted(stale.keys() & set(node.upstream))
        if upstream or node.address in working or is_changed(node.address):
            stale[node.address] = upstream[0] if upstream else None
    return stale


class _Index:
    """The stages of this checkout, parsed once and again when a file that defines them has changed.

    Parsing dvc.yaml and dvc.lock is most of what a question to DVC costs; hashes of files are never kept here.
    """

    def __init__(self) -> None:
        self._index: Any = None
        self._seen: dict[str, tuple[int, int, int]] = {}

    def read(self) -> Any:
        """DVC's index of the checkout in the current folder; `index.repo` stays open."""
        from dvc.repo import Repo

        defined_by = [str(Path(name).resolve()) for name in (DVC, LOCK, PARAMS)]
        elsewhere = not self._seen.keys() >= set(defined_by)
        if self._index is None or elsewhere or self._seen != {path: _fingerprint(path) for path in self._seen}:
            if self._index is not None:
                self._index.repo.close()
            self._seen = {path: _fingerprint(path) for path in defined_by}  # before it is read: a later change counts
            repo = Repo(_wait_for_lock=True)
            with repo.lock:  # DVC writes dvc.lock in place, and half of it is not valid
                self._index = repo.index
            self._seen |= {path: _fingerprint(path) for path in {stage.path for stage in self._index.stages}}
        return self._index


_INDEX = _Index()


def _fingerprint(path: str) -> tuple[int, int, int]:
    """Inode, time of the last change and size; zeros where there is no file."""
    try:
        found = Path(path).stat()
    except FileNotFoundError:
        return (0, 0, 0)
    return (found.st_ino, found.st_mtime_ns, found.st_size)


def order_lock(before: list[str], nodes: list[Node]) -> None:
    """Put dvc.lock's stages in the order that a serial `dvc repro` writes: known ones stay, new ones follow."""
    if not LOCK.exists():
        return
    yaml = YAML()
    lock = yaml.load(LOCK.read_text())
    stages = lock.get("stages") or {}
    planned = [node.address for node in nodes]
    order = [name for name in dict.fromkeys([*before, *planned, *stages]) if name in stages]
    if order != list(stages):
        lock["stages"] = {name: stages[name] for name in order}
        _dump(lock)


def locked_stages() -> list[str]:
    """The stages that dvc.lock knows, in its order."""
    if not LOCK.exists():
        return []
    return list(YAML(typ="safe").load(LOCK.read_text()).get("stages") or {})


def _dump(lock: Any) -> None:
    """Write dvc.lock as DVC formats it."""
    from dvc.utils.serialize import dump_yaml

    with whole(LOCK) as part:
        dump_yaml(str(part), lock)
