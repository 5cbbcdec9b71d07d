"""`dermflow status` and `dermflow report`: what is fresh, what runs, and the last answer; without loading settings."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from components.base.errors import RunError, SettingsError
from flows.orchestration.graph import read_graph, stale_nodes
from flows.orchestration.processes import ActiveRun, active_run
from flows.places import PARAMS


@dataclass(frozen=True)
class StageState:
    """One stage of the graph."""

    address: str
    fresh: bool
    running: bool
    after: str | None
    """The stale stage upstream that makes this one stale; None where it is stale itself, or fresh."""


@dataclass(frozen=True)
class PipelineState:
    """All stages, and the run that works in this checkout."""

    stages: tuple[StageState, ...]
    run: ActiveRun | None

    @property
    def stale(self) -> list[str]:
        """Addresses of the stages that a run would bring up to date."""
        return [stage.address for stage in self.stages if not stage.fresh]

    def data(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "stages": [asdict(stage) for stage in self.stages],
            "stale": self.stale,
            "run": None if self.run is None else asdict(self.run),
        }

    def lines(self) -> list[str]:
        """For people."""
        lines = []
        for stage in self.stages:
            reason = f"  (after {stage.after})" if stage.after else ""
            state = "runs " if stage.running else "fresh" if stage.fresh else "stale"
            lines.append(f"{state}  {stage.address}{reason}")
        count, run = len(self.stale), self.run
        if run is None:
            return [*lines, f"`dermflow run` would bring {count} stages up to date" if count else "nothing to do"]
        now = ", ".join(run.stages) or "no stage at this moment"
        done = f"{len(self.stages) - count} of {len(self.stages)} fresh"
        return [*lines, f"a run (process {run.pid}) works since {run.since}: {done}, now {now}"]


def examine() -> PipelineState:
    """The state of every stage of this checkout, and its run; a stage that works now is not asked, as DVC holds it."""
    run = active_run()
    working = set(run.stages) if run else set()
    nodes = read_graph()
    stale = stale_nodes(nodes, working)
    found = [
        StageState(node.address, node.address not in stale, node.address in working, stale.get(node.address))
        for node in nodes
    ]
    return PipelineState(tuple(found), run)


def read_answer() -> dict[str, str]:
    """The answer of the last run and its page.

    Raises:
        RunError: where no comparison has been made yet.
    """
    folder = _reports()
    answer = folder / "answer.txt"
    if not answer.exists():
        raise RunError(f"{answer} does not exist, since no comparison has been made yet; `dermflow run` makes it")
    pages = [folder / "index.html", folder / "comparison.html"]  # the second where an external test set failed
    page = next((page for page in pages if page.exists()), pages[0])
    return {"answer": answer.read_text().rstrip(), "page": str(page)}


def end_of_run() -> list[str]:
    """What a person reads when a run is done: answer and table, pages, next commands."""
    answer = read_answer()
    pages = [answer["page"], *(str(page) for page in sorted(_reports().glob("*.html")) if str(page) != answer["page"])]
    return [
        "",
        answer["answer"],
        "",
        f"pages: {', '.join(pages)}",
        "next: open the first page in a browser; `dermflow ui` compares the runs in MLflow; `dermflow predict FOLDER` "
        "predicts images",
    ]


def _reports() -> Path:
    try:
        return Path(YAML(typ="safe").load(PARAMS.read_text("utf-8"))["paths"]["reports"])
    except (OSError, YAMLError, UnicodeDecodeError, KeyError, TypeError):
        raise SettingsError(
            f"{PARAMS}: cannot be read or has no paths.reports; `dermflow doctor` says what is wrong"
        ) from None
