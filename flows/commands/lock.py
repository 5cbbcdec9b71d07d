"""`dermflow lock`: write down what decides the study's verdicts, before its test images are opened."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from components.base.errors import SettingsError
from components.comparison.protocol import DIGITS, Lock, describe_protocol, images_sha256, protocol_sha256
from flows.settings import Settings, load_settings
from flows.stage_io.protocol import LOCK, SECTIONS, read_lock, read_openings, write_lock
from flows.stage_io.split_table import read_split
from flows.tracking.git import find_commit, run_git
from flows.tracking.mlflow_log import open_client, recorded_run, search_runs


def lock(*, again: bool, commit: bool) -> list[str]:
    """Write the protocol of params.yaml to `protocol.lock.yaml` and to MLflow; the lines to print.

    Args:
        again: replace a protocol that is locked.
        commit: commit the file with git.

    Raises:
        SettingsError: where a protocol is locked and `again` is false.
    """
    before = read_lock()
    if before is not None and not again:
        raise SettingsError(
            f"a protocol was locked on {before.date} ({before.sha256[:DIGITS]}): a study has one; "
            "`dermflow lock --again` replaces it, and git keeps the former one"
        )
    settings = load_settings()
    locked = _lock(settings)
    write_lock(locked)
    with recorded_run(settings, "lock", {"stage": "lock", **_tags(locked)}) as log:
        log.artifact(LOCK)
    lines = [f"{LOCK}: locked {locked.sha256[:DIGITS]}, {len(locked.settings)} settings"]
    if locked.openings:
        lines.append(f"the test images had been opened {locked.openings} times: the study stays exploratory")
    command = ["commit", "-m", f"Protocol locked: {locked.sha256[:DIGITS]}", "--", str(LOCK)]
    if not commit:
        return [*lines, f"commit it: git {command[0]} -m '{command[2]}' -- {LOCK}"]
    run_git(*command, folder=Path.cwd())
    return [*lines, f"committed as {find_commit(Path.cwd()).sha[:DIGITS]}"]


def _lock(settings: Settings) -> Lock:
    split = settings.paths.split
    images = None
    if split.is_file():
        table = read_split(split)
        images = images_sha256(table[table["split"] == "test"])
    described = describe_protocol({name: getattr(settings, name) for name in SECTIONS})
    return Lock(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        commit=find_commit(Path.cwd()).sha,
        openings=_openings(images),
        images=images,
        settings=described,
        sha256=protocol_sha256(described, images),
    )


def _openings(images: str | None) -> int:
    """How many sets of models were measured on these test images, by the file of openings or by MLflow."""
    if images is None:
        return 0
    known = {each.models for each in read_openings() if each.images == images}
    runs = search_runs(open_client(), f"tags.`test/images` = '{images}'")
    return len(known | {run.data.tags["test/models"] for run in runs})


def _tags(locked: Lock) -> dict[str, str]:
    return {"protocol/sha256": locked.sha256, "protocol/date": locked.date, "protocol/openings": str(locked.openings)}
