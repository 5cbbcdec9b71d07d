"""Propose, approve and roll back: what is compared, what the record keeps, which aliases change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from mlflow.entities.model_registry import ModelVersion
from mlflow.tracking import MlflowClient

from components.base.errors import RunError
from components.base.files import write_text
from components.base.log import Log
from components.deployment.bundle import Bundle
from components.deployment.change_page import Change, Side, render
from components.deployment.evidence import Evidence
from components.deployment.gates import Gate, Outcome, conclude, judge
from flows.promotion.comparison import Compared, compare_on_test
from flows.promotion.record import Record
from flows.promotion.transaction import State, change, promotions, read_state
from flows.registry.versions import BUNDLE, CHAMPION, get_version, model_name, open_version
from flows.settings import Settings
from flows.stage_io.pages import stamped

PAGE = "promotion.html"
PROPOSED, PROMOTED, ROLLED_BACK = "proposed", "promoted", "rolled back"

RULES = "promotion"
"""Of an entry: the settings by which the model was judged; the first entries of an old record have none."""


@dataclass(frozen=True)
class Proposal:
    """A candidate that was compared, and what the gates say."""

    version: str
    champion: str | None
    gates: tuple[Gate, ...]
    outcome: Outcome
    promoted: bool


def propose(client: MlflowClient, version: ModelVersion, settings: Settings, log: Log) -> Proposal:
    """Compare a registered version with the champion, write the page, and record the proposal.

    With `promotion.approval: automatic` a candidate that passes is promoted at once.

    Raises:
        RunError: where the version is the champion already, or the two cannot be compared.
    """
    name, number = version.name, str(version.version)
    with promotions(client, name) as record:
        before = read_state(client, name)
        if before.champion == number:
            raise RunError(f"models:/{name}/{number}: is the champion already; make another bundle (dvc repro bundle)")
        candidate = open_version(client, version)
        champion = None
        if before.champion is not None:
            champion = open_version(client, get_version(client, f"models:/{name}/{before.champion}"))
        compared = compare_on_test(candidate, champion, settings, log)
        gates = judge(compared.evidence, settings.promotion, candidate.manifest.classes)
        outcome = conclude(gates)
        page = _page(compared, gates, outcome, (number, candidate), (before.champion, champion))
        path = settings.paths.reports / PAGE
        write_text(path, stamped(page, path, model=f"{name} version {number}"))
        content = {
            "model": name, "version": number, "champion": before.champion, "bundle": candidate.sha256,
            "outcome": outcome.value, "gates": [asdict(gate) for gate in gates], RULES: rules_of(settings),
        }  # fmt: skip
        record.append(record.next(PROPOSED, content))
        promote = outcome is Outcome.PASSED and settings.promotion.approval == "automatic"
        if promote:
            _promote(client, Record.read(), content, before, "automatic")
    return Proposal(number, before.champion, gates, outcome, promote)


def approve(client: MlflowClient, settings: Settings, number: str) -> str:
    """Make a proposed version the champion; returns the address of the former one, or "".

    Raises:
        RunError: where the version was not proposed, its gates did not pass, or the champion has changed since.
    """
    name = model_name(settings.study.name)
    with promotions(client, name) as record:
        before = read_state(client, name)
        if before.champion == number:
            raise RunError(f"models:/{name}/{number}: is the champion already")
        content = _proposal(record, name, number)
        if content["outcome"] != Outcome.PASSED:
            failed = [gate["name"] for gate in content["gates"] if not gate["passed"]]
            raise RunError(
                f"models:/{name}/{number}: its proposal says {content['outcome']!r} ({', '.join(failed)}), expected "
                f"{Outcome.PASSED.value!r}; nothing was promoted"
            )
        if content["champion"] != before.champion:
            raise RunError(
                f"models:/{name}/{number}: was compared with version {content['champion']}, but the champion is "
                f"{before.champion}: propose it again with `dermflow promote --candidate {number}`"
            )
        sha256 = open_version(client, get_version(client, f"models:/{name}/{number}")).sha256
        if sha256 != content["bundle"]:
            raise RunError(
                f"models:/{name}/{number}: holds bundle {sha256[:12]}, expected {content['bundle'][:12]} of its "
                f"proposal; propose it again with `dermflow promote --candidate {number}`"
            )
        _promote(client, record, content, before, "person")
    return f"models:/{name}/{before.champion}" if before.champion else ""


def roll_back(client: MlflowClient, settings: Settings) -> tuple[str, str]:
    """Exchange champion and previous champion; returns the versions of the new and the former champion.

    Raises:
        RunError: where there is no previous champion.
    """
    name = model_name(settings.study.name)
    with promotions(client, name) as record:
        before = read_state(client, name)
        if before.previous is None or before.champion is None:
            raise RunError(
                f"models:/{name}: has no version with the alias previous, so there is nothing to go back to; champion "
                f"is {before.champion or 'none'}"
            )
        version = get_version(client, f"models:/{name}/{before.previous}")
        bundle = open_version(client, version).sha256  # the files must be there before it is in use again
        content = {"model": name, "version": before.previous, "champion": before.champion, BUNDLE: bundle}
        after = State(champion=before.previous, previous=before.champion, head=None)
        change(client, name, record, record.next(ROLLED_BACK, content), after)
    return before.previous, before.champion


def _promote(client: MlflowClient, record: Record, content: Mapping[str, Any], before: State, approval: str) -> None:
    entry = record.next(PROMOTED, {**content, "approval": approval})
    after = State(champion=content["version"], previous=before.champion, head=None)
    change(client, content["model"], record, entry, after)


def rules_of(settings: Settings) -> dict[str, Any]:
    """The settings of `promotion` as an entry holds them."""
    return settings.promotion.model_dump(mode="json")


def find_proposal(record: Record, name: str, number: str) -> Mapping[str, Any] | None:
    """The entry of a version's newest proposal; None where it was not proposed."""
    wanted = (PROPOSED, name, number)
    entries = reversed(record.entries)
    return next((each for each in entries if (each["kind"], each["model"], each["version"]) == wanted), None)


def _proposal(record: Record, name: str, number: str) -> Mapping[str, Any]:
    """The version's newest proposal, without what every entry has."""
    if (entry := find_proposal(record, name, number)) is not None:
        keys = ("model", "version", "champion", "bundle", "outcome", "gates", RULES)
        return {key: entry[key] for key in keys if key in entry}
    raise RunError(
        f"models:/{name}/{number}: was not proposed; `dermflow promote --candidate {number}` compares it with the "
        f"{CHAMPION}"
    )


def _page(
    compared: Compared,
    gates: Sequence[Gate],
    outcome: Outcome,
    candidate: tuple[str, Bundle],
    champion: tuple[str | None, Bundle | None],
) -> str:
    evidence: Evidence = compared.evidence
    new = Side(candidate[0], candidate[1].sha256, candidate[1].manifest, compared.candidate)
    old = None
    if champion[0] is not None and champion[1] is not None and compared.champion is not None:
        old = Side(champion[0], champion[1].sha256, champion[1].manifest, compared.champion)
    return render(Change(evidence, gates, outcome, compared.images, new, old))
