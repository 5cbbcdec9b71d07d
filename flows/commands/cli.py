"""Dermflow: compare pretraining methods on dermatology images. Most commands wrap dvc, prefect and mlflow."""

from __future__ import annotations

import os
import sys
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from components.base.errors import DermflowError, RunError
from flows.commands import data_commands, model_commands, training_commands
from flows.commands.place import enter_root, given
from flows.commands.print_errors import as_json
from flows.commands.print_errors import print_errors as _print_errors
from flows.orchestration.schedules import UTC

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,  # its frames would show values of a data set
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit status: 0 done; 1 an error, a failed stage or check, or results that differ; 2 wrong use, or no "
    "checkout here; 130 stopped with Ctrl-C. Commands work from any folder of the checkout.",
)
app.add_typer(data_commands.DATA, name="data")

ANYWHERE = frozenset({"predict", "serve", "export"})
"""Commands that work outside a checkout, with the folder of a bundle."""

Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="show Prefect's whole log")]
Json = Annotated[bool, typer.Option("--json", help="as JSON, for scripts")]


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"dermflow {version('dermflow')}")
        raise typer.Exit


@app.callback(help=__doc__)
def _start(
    context: typer.Context,
    version: Annotated[  # noqa: ARG001  # its callback ends the command
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="show the version and exit")
    ] = False,
) -> None:
    """Before each command: it must be in a checkout, with that checkout's own code. Exit status 2 otherwise."""
    from flows.tracking.checkout import check_own_code

    if {"-h", "--help"} & set(sys.argv):  # the help of a command works everywhere
        return
    try:
        enter_root(required=context.invoked_subcommand not in ANYWHERE)
        check_own_code()
    except RunError as error:
        typer.echo(f"dermflow: {error}", err=True)
        raise typer.Exit(2) from None


@app.command()
@_print_errors
def demo(verbose: Verbose = False) -> None:
    """Run the demo study on synthetic images. It takes minutes and needs no server or download."""
    from flows.settings import load_settings

    settings = load_settings()
    if settings.dataset.kind != "synthetic":
        raise RunError(
            f"params.yaml holds the study {settings.study.name!r} on {settings.dataset.kind} data: "
            "`dermflow use demo` first, or `dermflow run` for that study"
        )
    _run(verbose)


@app.command()
@_print_errors
def run(verbose: Verbose = False) -> None:
    """Run all stages that are not up to date. Without dermflow: `python -m flows.pipeline`, or `dvc repro`."""
    _run(verbose)


@app.command()
@_print_errors
def decide(
    budget: Annotated[
        float | None,
        typer.Option(min=0, help="minutes; a look that is expected to take longer is not started; by default no limit"),
    ] = None,
) -> None:
    """Add seeds, look by look, until every comparison is decided, or cannot be. Looks are planned in compare.looks.

    Each look sets study.seeds and runs what is missing. A later start continues: reports/looks.json holds all looks.
    """
    from flows.commands.decide import decide as take_looks
    from flows.pipeline import main

    typer.echo(take_looks(budget, main, typer.echo))


def _run(verbose: bool) -> None:
    typer.echo("dermflow: reading settings and graph; -v shows the whole log")
    from flows.commands.run_view import shown_run

    with shown_run(verbose):
        from flows.orchestration.study_run import record_unchanged

        if record_unchanged():
            status = 0
        else:
            from flows.pipeline import main

            status = main(stale=True)
    if status == 0:
        from flows.commands.status import end_of_run

        typer.echo("\n".join(end_of_run()))
    raise typer.Exit(status)


@app.command()
@_print_errors
def schedule(
    cron: Annotated[str, typer.Option(help="times of the runs, as in crontab; '0 3 * * *' is every night at 03:00")],
    port: Annotated[
        int | None,
        typer.Option(help="port of Prefect's server on 127.0.0.1, which is started unless it runs; by default 4200"),
    ] = None,
    timezone: Annotated[str, typer.Option(help="time zone of the times, an IANA name such as Europe/Berlin")] = UTC,
    pull: Annotated[bool, typer.Option(help="before each run pull missing data from DVC's remote")] = True,
    propose: Annotated[bool, typer.Option(help="after each run register the bundle and propose its promotion")] = True,
) -> None:
    """Run on a schedule until Ctrl-C: new data, stale stages, a proposal of the model for use, a report.

    Prefect's server is that of PREFECT_API_URL, or one on this host.
    """
    from flows.commands.schedule import serve

    serve(cron, port, timezone, pull, propose)


@app.command()
@_print_errors
def use(
    preset: Annotated[str, typer.Argument(help="name of a file in presets/, without .yaml")],
    changes: Annotated[
        list[str] | None,
        typer.Argument(help="settings to change, each key=value, such as dataset.path=data/raw/mine; none by default"),
    ] = None,
) -> None:
    """Write params.yaml from a preset with changes. Prints the difference to the former params.yaml. Not during a run.

    The deps of dvc.yaml follow: they list the metrics, figures and corruptions that the settings name.
    """
    from flows import presets
    from flows.orchestration.freshness import read_stages, write_graph
    from flows.orchestration.processes import only_run

    with only_run(entry.name for entry in read_stages(Path.cwd())):
        typer.echo(presets.use(preset, changes or []) or "params.yaml has these settings already")
        if write_graph(Path.cwd()):
            typer.echo("dvc.yaml: deps follow these settings")


@app.command()
@_print_errors
def lock(
    again: Annotated[bool, typer.Option(help="replace a protocol that is locked already")] = False,
    commit: Annotated[bool, typer.Option(help="commit protocol.lock.yaml with git")] = False,
) -> None:
    """Lock the protocol before the test images are opened: endpoint, margin, seeds, arms, training and split.

    `compare` then says whether the study is confirmatory, or in which settings it differs from what was locked.
    """
    from flows.commands.lock import lock as lock_protocol

    for line in lock_protocol(again=again, commit=commit):
        typer.echo(line)


for _command in (*data_commands.COMMANDS, *model_commands.COMMANDS, *training_commands.COMMANDS):
    app.command(_command.__name__.replace("_", "-"))(_command)


@app.command()
@_print_errors
def status(json: Json = False) -> None:
    """List every stage as fresh or stale, and say what runs. `dermflow run` runs the stale ones; also `dvc status`."""
    from flows.commands.status import examine

    found = examine()
    typer.echo(as_json(found.data()) if json else "\n".join(found.lines()))


@app.command()
@_print_errors
def ui(port: Annotated[int, typer.Option(help="port of MLflow's server on 127.0.0.1")] = 5000) -> None:
    """Serve MLflow's web pages to compare runs. Also: `mlflow ui --backend-store-uri sqlite:///mlruns/mlflow.db`."""
    from flows.orchestration.bound import bound_process
    from flows.settings import load_settings
    from flows.tracking.mlflow_log import open_client, open_experiment, tracking_uri
    from flows.tracking.services import masked

    study = open_experiment(open_client(), load_settings().study.name)
    if (server := tracking_uri()).startswith("http"):
        typer.echo(
            f"MLFLOW_TRACKING_URI names a server, which has the pages: {masked(server)}/#/experiments/{study}/runs"
            "?workflowType=machine_learning"
        )
        return
    runs = f"http://127.0.0.1:{port}/#/experiments/{study}/runs?workflowType=machine_learning"
    typer.echo(f"MLflow, runs of this study: {runs}\nas charts: {runs}&compareRunsMode=CHART\nCtrl-C stops the server")
    command = [
        "mlflow", "server", "--backend-store-uri", tracking_uri(), "--host", "127.0.0.1",
        "--port", str(port), "--workers", "1", "--default-artifact-root", "mlruns/artifacts",
    ]  # fmt: skip
    with bound_process(command, {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}) as serving:  # jobs are of no use here
        try:
            raise typer.Exit(serving.wait())
        except KeyboardInterrupt:
            raise typer.Exit(0) from None


@app.command()
@_print_errors
def report(json: Json = False) -> None:
    """Print verdict and table of the last run. They are in reports/answer.txt, too."""
    from flows.commands.status import read_answer

    answer = read_answer()
    if json:
        typer.echo(as_json(answer))
    else:
        typer.echo(f"{answer['answer']}\nReport page: {answer['page']}; runs in MLflow: `dermflow ui`")


@app.command()
def reproduce(
    run: Annotated[
        str, typer.Argument(help="id or name of an MLflow run, or its first characters (see `dermflow ui`)")
    ],
    into: Annotated[
        Path | None, typer.Option(help="a new or empty folder for the clone; by default one in data/reproduced")
    ] = None,
    without_changes: Annotated[
        bool, typer.Option("--without-changes", help="leave out the code changes that the run had beyond its commit")
    ] = False,
) -> None:
    """Repeat a run in a clone and compare the outputs. Exit status: 0 equal, 1 different, 2 not possible."""
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    from flows.reproduction import reproduce as reproduction
    from flows.reproduction.report import describe, is_reproduced

    try:
        into = None if into is None else given(into)
        found = reproduction.reproduce(run, into=into, without_changes=without_changes, echo=typer.echo)
    except DermflowError as error:
        typer.echo(f"dermflow: {error}", err=True)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        typer.echo("dermflow: stopped", err=True)
        raise typer.Exit(130) from None
    except Exception:  # Python's own exit status 1 would mean that the results differ
        traceback.print_exc()
        raise typer.Exit(2) from None
    typer.echo("\n".join(describe(found)))
    raise typer.Exit(0 if is_reproduced(found) else 1)


@app.command("compare-results")
@_print_errors
def compare_results(
    other: Annotated[Path, typer.Argument(help="root of another checkout that ran the same settings")],
    json: Json = False,
) -> None:
    """Compare all results with those of another checkout. Exit status: 0 equal, 1 different.

    Weights, pixels, curves and predictions must be equal to the last bit, metrics within 1e-12. Use it
    after a change of the code that should change no result.
    """
    from flows.reproduction.compare_checkouts import compare_checkouts

    found = compare_checkouts(given(other), Path.cwd())
    typer.echo(as_json({"equal": found.equal, "lines": found.lines()}) if json else "\n".join(found.lines()))
    raise typer.Exit(0 if found.equal else 1)


@app.command()
@_print_errors
def crossvalidate(
    folds: Annotated[
        int | None,
        typer.Option(help="number of folds, 3 or more; by default that of params.yaml, or 5 where it has none"),
    ] = None,
) -> None:
    """Test every lesion once: run the study for each fold, and pool the folds. Continues where it was stopped.

    Sets cross_validation.folds; `dermflow run` then runs the folds too. Writes reports/cross_validation.html.
    """
    from flows.commands.crossvalidate import crossvalidate as run_folds
    from flows.pipeline import main

    raise typer.Exit(run_folds(folds, lambda stage: main(target=stage)))


@app.command()
@_print_errors
def doctor(json: Json = False) -> None:
    """Check whether this machine can run the pipeline. Prints how to fix what is missing."""
    from flows.commands.doctor import examine

    checks = examine(Path.cwd())
    if json:
        typer.echo(as_json([asdict(check) for check in checks]))
        raise typer.Exit(0 if all(check.passed for check in checks) else 1)
    for check in checks:
        typer.echo(f"{'ok  ' if check.passed else 'FAIL'}  {check.what}: {check.found}")
        if not check.passed:
            typer.echo(f"      to fix: {check.fix}")
    raise typer.Exit(0 if all(check.passed for check in checks) else 1)


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    app()
