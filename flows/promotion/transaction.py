"""Which versions have the aliases `champion` and `previous`, changed together with the record or not at all.

MLflow changes one alias at a time. So the state before is written to a file first: an error restores it at once, and
where the process itself was killed, the next command does.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from components.base.errors import RunError
from components.base.files import write_text
from components.deployment.promotion_record import check_head, hash_entry
from flows.promotion.record import NAME as RECORD
from flows.promotion.record import Record
from flows.registry.versions import CHAMPION, PREVIOUS, find_alias
from flows.tracking.mlflow_log import mlruns_folder

HEAD = "promotions.head"
"""Tag of the registered model: sha256 of the record's entry that made the present champion."""

BEGUN = "promotion-begun.json"


@dataclass(frozen=True)
class State:
    """The versions with the aliases, and the tag HEAD; None where there is none."""

    champion: str | None
    previous: str | None
    head: str | None


@contextmanager
def promotions(client: MlflowClient, name: str) -> Iterator[Record]:
    """The verified record, with no other promotion of this checkout beside it.

    Raises:
        RunError: where another promotion is under way.
        DataError: where the record was changed.
    """
    folder = mlruns_folder()
    folder.mkdir(exist_ok=True)
    try:
        with FileLock(folder / ".promotions.lock", timeout=0):
            _end_interrupted(client)
            record = Record.read()
            check_head(record.entries, read_state(client, name).head, str(record.path))
            yield record
    except Timeout:
        raise RunError(f"{folder}: another promotion is under way there; wait until it has ended") from None


def read_state(client: MlflowClient, name: str) -> State:
    """The present state; all None where the model is not registered."""
    champion, previous = (find_alias(client, name, alias) for alias in (CHAMPION, PREVIOUS))
    try:
        head = client.get_registered_model(name).tags.get(HEAD)
    except MlflowException:
        head = None
    return State(
        champion=None if champion is None else str(champion.version),
        previous=None if previous is None else str(previous.version),
        head=head,
    )


def change(client: MlflowClient, name: str, record: Record, entry: Mapping[str, Any], after: State) -> None:
    """Set both aliases and add the entry; whatever fails, all is as before.

    Args:
        client: of the store.
        name: of the registered model.
        record: of `promotions`, inside its block.
        entry: of `record.next`.
        after: the aliases that are set; its `head` is not used.
    """
    before = read_state(client, name)
    begun = mlruns_folder() / BEGUN
    head = hash_entry(entry)
    write_text(begun, json.dumps({"name": name, "head": head, "before": asdict(before)}))
    try:
        _set_alias(client, name, PREVIOUS, after.previous)
        _set_alias(client, name, CHAMPION, after.champion)
        client.set_registered_model_tag(name, HEAD, head)
        record.append(entry)
    except BaseException:
        _restore(client, name, before)
        begun.unlink()
        raise
    begun.unlink()


def _set_alias(client: MlflowClient, name: str, alias: str, version: str | None) -> None:
    if version is not None:
        client.set_registered_model_alias(name, alias, version)
    elif find_alias(client, name, alias) is not None:
        client.delete_registered_model_alias(name, alias)


def _restore(client: MlflowClient, name: str, state: State) -> None:
    _set_alias(client, name, CHAMPION, state.champion)
    _set_alias(client, name, PREVIOUS, state.previous)
    if state.head is not None:
        client.set_registered_model_tag(name, HEAD, state.head)
    elif HEAD in client.get_registered_model(name).tags:
        client.delete_registered_model_tag(name, HEAD)


def _end_interrupted(client: MlflowClient) -> None:
    """After a killed process: the state before, unless the record has its entry, which is written last."""
    begun = mlruns_folder() / BEGUN
    if not begun.exists():
        return
    found = json.loads(begun.read_text("utf-8"))
    _drop_unfinished_line(mlruns_folder() / RECORD)
    if found["head"] not in {hash_entry(entry) for entry in Record.read().entries}:
        _restore(client, found["name"], State(**found["before"]))
    begun.unlink()


def _drop_unfinished_line(path: Path) -> None:
    """Remove a last line without its end, which a killed process can leave."""
    content = path.read_bytes() if path.exists() else b""
    if content and not content.endswith(b"\n"):
        with path.open("r+b") as file:
            file.truncate(content.rfind(b"\n") + 1)
