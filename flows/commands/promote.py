"""`dermflow promote`: propose a model for use, approve what was proposed, or go back to the one before."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Console
from rich.table import Table

from components.base.errors import RunError
from components.deployment.gates import Gate, Outcome
from flows.promotion.decision import PAGE, Proposal, approve, roll_back
from flows.registry.versions import model_name
from flows.settings import Settings, load_settings
from flows.tracking.mlflow_log import open_client


def promote(candidate: str | None, approved: str | None, rollback: bool, echo: Callable[[str], None]) -> bool:
    """Do one of the three, and say what is in use now.

    Args:
        candidate: number of a registered version to propose; None for this checkout's bundle.
        approved: number of a proposed version to promote; None to propose.
        rollback: go back to the previous champion.
        echo: shows one line.

    Returns:
        False where a proposal did not pass its gates.

    Raises:
        RunError: where two of them were asked for at once, or one is not possible.
    """
    if sum([candidate is not None, approved is not None, rollback]) > 1:
        raise RunError("--candidate, --approve and --rollback: expected one of them at most")
    settings = load_settings()
    name = model_name(settings.study.name)
    if rollback:
        now, before = roll_back(open_client(), settings)
        echo(f"models:/{name}@champion is version {now} again; version {before} is now previous")
        return True
    if approved is not None:
        former = approve(open_client(), settings, approved)
        echo(f"models:/{name}@champion is version {approved}" + (f"; {former} is now previous" if former else ""))
        return True
    return _propose(settings, candidate, name, echo)


def _propose(settings: Settings, candidate: str | None, name: str, echo: Callable[[str], None]) -> bool:
    from flows.promote import run_promotion  # here, since approvals and rollbacks need no Prefect

    found = run_promotion(candidate)
    against = f"the champion, version {found.champion}" if found.champion else "no champion"
    echo(f"models:/{name}/{found.version} against {against}:")
    show(found.gates)
    echo(f"{found.outcome.value}; {_next(found, name)}; see {settings.paths.reports / PAGE}")
    return found.outcome is Outcome.PASSED


def show(gates: tuple[Gate, ...]) -> None:
    """Print the gates as a table on standard output."""
    table = Table("gate", "found", "required", "result")
    for gate in gates:
        table.add_row(gate.name, gate.found, gate.required, gate.word)
    Console().print(table)


def _next(found: Proposal, name: str) -> str:
    if found.promoted:
        return f"models:/{name}@champion is version {found.version} (promotion.approval: automatic)"
    if found.outcome is Outcome.PASSED:
        return f"`dermflow promote --approve {found.version}` makes it the champion"
    return "nothing is promoted"
