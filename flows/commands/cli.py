"""`dermflow`: the console command. Everything it does can be had with plain dvc, prefect and mlflow commands."""

from __future__ import annotations

import os
import subprocess
import sys
import traceback
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from components.base.errors import DermflowError, RunError

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None, help=__doc__)
data = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Versions of the data set.")
app.add_typer(data, name="data")


def _told(command: Callable[..., Any]) -> Callable[..., Any]:
    """An error made for the person is told in its own words, without a traceback."""

    @wraps(command)
    def wrapped(*arguments: Any, **named: Any) -> Any:
        try:
            return command(*arguments, **named)
        except DermflowError as error:
            typer.echo(f"dermflow: {error}", err=True)
            raise typer.Exit(1) from None

    return wrapped


@app.command()
@_told
def demo() -> None:
    """Run the whole study on embedded synthetic images; minutes, no server, no download."""
    from flows.settings import load_settings

    settings = load_settings()
    if settings.dataset.kind != "synthetic":
        raise RunError(
            f"params.yaml holds the study {settings.study.name!r} on {settings.dataset.kind} data: "
            "`dermflow use demo` first, or `dermflow run` for that study"
        )
    _run()


@app.command()
@_told
def run() -> None:
    """Bring every stage up to date: what is unchanged is skipped (plain: `dvc repro`, `python -m flows.pipeline`)."""
    _run()


def _run() -> None:
    from flows.pipeline import main

    status = main()
    if status == 0:
        report()
    raise typer.Exit(status)


@app.command()
@_told
def schedule(
    cron: Annotated[str, typer.Option(help="when, such as '0 3 * * *': every night at three")],
    port: Annotated[int, typer.Option(help="of the Prefect server on 127.0.0.1; one that answers is used")] = 4200,
) -> None:
    """Serve the pipeline on a schedule: Prefect's server and runner on this host, until Ctrl-C."""
    from flows.commands.schedule import serve

    serve(cron, port)


@app.command()
@_told
def use(
    preset: Annotated[str, typer.Argument(help="a file in presets/")],
    changes: Annotated[list[str] | None, typer.Argument(help="key=value, such as dataset.path=data/raw/mine")] = None,
) -> None:
    """Make a preset, with changes, the active experiment in params.yaml; shows the difference."""
    from flows import presets

    typer.echo(presets.use(preset, changes or []) or "params.yaml says that already")


@app.command()
@_told
def status() -> None:
    """What is fresh and what a run would do (plain: `dvc status`)."""
    from flows.orchestration.graph import is_changed, read_graph

    stale: set[str] = set()
    for node in read_graph():
        waits = stale.intersection(node.upstream)
        changed = bool(waits) or is_changed(node.address)
        if changed:
            stale.add(node.address)
        typer.echo(
            f"{'stale' if changed else 'fresh'}  {node.address}{f'  (after {sorted(waits)[0]})' if waits else ''}"
        )
    typer.echo("nothing to do" if not stale else f"`dermflow run` would bring {len(stale)} stages up to date")


@app.command()
@_told
def ui(port: Annotated[int, typer.Option(help="on 127.0.0.1")] = 5000) -> None:
    """Compare runs in MLflow at 127.0.0.1 (plain: `mlflow ui --backend-store-uri sqlite:///mlruns/mlflow.db`)."""
    from flows.settings import load_settings
    from flows.tracking.mlflow_log import open_client, open_experiment, tracking_uri

    study = open_experiment(open_client(), load_settings().study.name)
    runs = f"http://127.0.0.1:{port}/#/experiments/{study}/runs"
    typer.echo(f"MLflow, this study's runs: {runs} (charts side by side: {runs}?compareRunsMode=CHART); Ctrl-C ends it")
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", tracking_uri()]
    command += [
        "--default-artifact-root",
        "mlruns/artifacts",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--workers",
        "1",
    ]
    try:
        raise typer.Exit(subprocess.run(command, check=False).returncode)
    except KeyboardInterrupt:
        raise typer.Exit(0) from None


@app.command()
@_told
def report() -> None:
    """The answer of the last run: verdict, table, and where to read on (plain: reports/index.html)."""
    from flows.settings import load_settings

    folder = load_settings().paths.reports
    answer = folder / "answer.txt"
    if not answer.exists():
        raise RunError(f"{answer} is not there: no comparison has been made yet; `dermflow run` makes it")
    typer.echo(answer.read_text().rstrip())
    typer.echo(f"The page: {folder / 'index.html'}; the runs: make ui")


@app.command()
def reproduce(
    run: Annotated[str, typer.Argument(help="an MLflow run: its id or name, or how that begins (dermflow ui)")],
    into: Annotated[Path | None, typer.Option(help="a new folder; otherwise one under data/reproduced")] = None,
    without_changes: Annotated[
        bool, typer.Option("--without-changes", help="leave out what the code had beyond its commit")
    ] = False,
) -> None:
    """Make a run again in a fresh clone, and say equal (status 0) or what differs (1); 2 where that cannot be done."""
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    from flows.reproduction.reproduce import describe, is_same
    from flows.reproduction.reproduce import reproduce as make_again

    try:
        outcome = make_again(run, into, without_changes, typer.echo)
    except DermflowError as error:
        typer.echo(f"dermflow: {error}", err=True)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        typer.echo("dermflow: stopped", err=True)
        raise typer.Exit(130) from None
    except Exception:  # 1 would say that it differs
        traceback.print_exc()
        raise typer.Exit(2) from None
    typer.echo("\n".join(describe(outcome)))
    raise typer.Exit(0 if is_same(outcome) else 1)


@data.command("diff")
@_told
def data_diff(
    rev: Annotated[str, typer.Argument(help="git revision to compare with: a commit, tag or branch")],
    page: Annotated[Path, typer.Option(help="where the page with pictures goes")] = Path("reports/data-diff.html"),
) -> None:
    """What has changed in the data set since REV: images, labels, class shares, quality."""
    from flows.commands.data_diff import diff

    answer = diff(rev)
    answer.write(page)
    typer.echo("\n".join([*answer.lines(), "", f"The page, with pictures: {page}"]))


@app.command()
@_told
def key() -> None:
    """Make the secret key that hides the ids of patients and lesions (privacy.key: secret)."""
    from flows.stage_io.pseudonym_key import make_key

    typer.echo(f"{make_key()}: keep it safe and outside the repository; without it no later data get the same ids")


@app.command()
@_told
def doctor() -> None:
    """Check this machine: what works, what is missing, what to do about it."""
    from flows.commands.doctor import examine

    findings = examine(Path.cwd())
    for finding in findings:
        typer.echo(f"{'ok  ' if finding.good else 'MEND'}  {finding.what}: {finding.seen}")
        if not finding.good:
            typer.echo(f"      {finding.mend}")
    raise typer.Exit(0 if all(finding.good for finding in findings) else 1)


@app.command()
@_told
def profile(
    steps: Annotated[int, typer.Option(min=1, help="of each of the two epochs, one timed and one traced")] = 10,
) -> None:
    """Where training time goes: data, forward, backward, optimiser, each layer; writes traces to open."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # torch's profiler would talk between the lines
    from flows.commands.profile import profile as watch

    watch(steps, typer.echo)


@app.command()
@_told
def augment(
    images: Annotated[int, typer.Option(min=1, max=64, help="rows of the picture, of all classes")] = 8,
    epochs: Annotated[int, typer.Option(min=1, max=20, help="columns of the picture")] = 6,
) -> None:
    """The augmentation as training draws it: a picture of train images over some epochs, and the policy as a file."""
    from flows.commands.profile import augment as show

    policy, picture = show(images, epochs, typer.echo)
    typer.echo(
        f"policy: {policy} (albumentations reads it)\npicture: {picture} (it shows train images: keep it inside)"
    )


@app.command("find-rate")
@_told
def find_rate(
    arm: Annotated[str, typer.Option(help="whose encoder; the study's first if none is named")] = "",
    protocol: Annotated[str, typer.Option(help="frozen or full; the study's first if none is named")] = "",
    steps: Annotated[int, typer.Option(min=10, help="batches, each at a higher rate")] = 100,
) -> None:
    """Learning-rate range test (Smith 2017) on the train images: suggests a peak and draws the curve."""
    from flows.commands.profile import find_rate as test

    typer.echo(f"figure: {test(arm, protocol, steps, typer.echo)}")


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    app()
