"""The Prefect flow of a scheduled run: bring the study up to date, propose its model for use, report what changed.

A proposal changes nothing that is in use, unless `promotion.approval` is automatic: a person approves it. What was
proposed against the present champion by the present settings of `promotion` is not proposed again.
"""

from __future__ import annotations

from prefect import flow
from prefect.artifacts import create_markdown_artifact

from components.deployment.bundle import MANIFEST, open_bundle
from components.deployment.gates import Outcome
from flows.orchestration.flow_runs import emit_failure, name_run
from flows.orchestration.run_report import table
from flows.orchestration.schedules import UTC
from flows.pipeline import pipeline
from flows.promote import promotion
from flows.promotion.decision import RULES, Proposal, find_proposal, rules_of
from flows.promotion.record import Record
from flows.promotion.transaction import State, read_state
from flows.registry.versions import find_version, model_name
from flows.settings import Settings, load_settings
from flows.stage_io.files import read_json
from flows.stage_io.kept_split import kept_lines
from flows.tracking.mlflow_log import open_client, shareable

KEY = "dermflow-nightly"
"""Of the artifact in Prefect."""

NO_MODEL = "No model is in use."


@flow(name="dermflow-nightly", flow_run_name=name_run, validate_parameters=False, persist_result=False)
def nightly(timezone: str = UTC, pull: bool = True, propose: bool = True) -> None:
    """Bring every stage up to date, propose the bundle, and write the report.

    Args:
        timezone: IANA name of the time zone of the date in the run's name.
        pull: whether missing data are pulled from DVC's remote before.
        propose: whether the bundle is registered, and compared with the champion.
    """
    changes = pipeline(timezone, pull)  # emits its failure itself
    try:
        _propose_and_report(changes, propose)
    except Exception as error:
        emit_failure(error)
        raise


def _propose_and_report(changes: str, propose: bool) -> None:
    settings = load_settings()
    before = read_state(open_client(), model_name(settings.study.name))
    try:
        proposal = (
            propose_bundle(settings, before) if propose else ["Nothing is proposed: the parameter propose is off."]
        )
    except Exception as error:
        _report(settings, changes, before, [f"The proposal failed: {shareable(error, settings)}"])
        raise
    _report(settings, changes, before, proposal)


def propose_bundle(settings: Settings, state: State) -> list[str]:
    """Register this checkout's bundle and propose it, where that is new; returns what was found, in Markdown.

    Args:
        settings: of the study.
        state: which versions are in use.
    """
    if not (settings.paths.bundle / MANIFEST).is_file():
        return [f"Nothing is proposed: no stage has made {settings.paths.bundle}."]
    client, name = open_client(), model_name(settings.study.name)
    version = find_version(client, name, open_bundle(settings.paths.bundle).sha256)
    if version is not None:
        number = str(version.version)
        if number == state.champion:
            return [f"Nothing is proposed: the model of this run is version {number}, which is in use."]
        earlier = find_proposal(Record.read(), name, number)
        same = (state.champion, rules_of(settings))
        if earlier is not None and (earlier["champion"], earlier.get(RULES)) == same:
            outcome = earlier["outcome"]
            return [
                f"Nothing new is proposed: the model of this run is version {number}, which was compared with "
                f"{_words(state.champion)} on {earlier['when'][:10]}: {outcome}. {_next(outcome, number)}"
            ]
    return describe_proposal(promotion())


def describe_proposal(found: Proposal) -> list[str]:
    """What was compared, what the gates say, and what a person can do, in Markdown."""
    rows = [[gate.name, gate.found, gate.required, gate.word] for gate in found.gates]
    ending = (
        f"Version {found.version} is in use now (promotion.approval: automatic)."
        if found.promoted
        else _next(found.outcome, found.version)
    )
    return [
        f"Version {found.version} was compared with {_words(found.champion)}: **{found.outcome.value}**. {ending}",
        table(["gate", "found", "required", "result"], rows),
    ]


def _next(outcome: str, number: str) -> str:
    if outcome == Outcome.PASSED:
        return f"A person makes it the champion with `dermflow promote --approve {number}`; until then nothing changes."
    return "Nothing is promoted."


def _words(champion: str | None) -> str:
    return f"the champion, version {champion}" if champion else "no champion"


def _report(settings: Settings, changes: str, before: State, proposal: list[str]) -> None:
    """Write the artifact: the pipeline's report, what the split kept, the proposal, and the model in use."""
    split = settings.paths.metrics / "split.json"
    kept = kept_lines(read_json(split).get("kept_split") if split.is_file() else None)
    now = read_state(open_client(), model_name(settings.study.name))
    parts = [
        changes.rstrip(),
        *(["## Kept split", *kept] if kept else []),
        "## Proposal", *proposal,
        "## Model in use", *describe_champion(model_name(settings.study.name), before, now),
    ]  # fmt: skip
    create_markdown_artifact(
        "\n\n".join(parts) + "\n",
        key=KEY,
        description=f"What changed in the study {settings.study.name}, and its model",
    )


def describe_champion(name: str, before: State, now: State) -> list[str]:
    """Which version is in use, and whether this run changed that."""
    if now.champion is None:
        return [NO_MODEL]
    former = f" `dermflow promote --rollback` brings version {now.previous} back." if now.previous else ""
    change = "No changes: " if now.champion == before.champion else f"Before this run: {_words(before.champion)}. Now "
    return [f"{change}models:/{name}@champion is version {now.champion}.{former}"]
