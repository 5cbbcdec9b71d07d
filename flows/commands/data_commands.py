"""Commands of the command line about the data set; `cli` adds them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from components.base.errors import RunError
from flows.commands.place import given
from flows.commands.print_errors import print_errors

if TYPE_CHECKING:
    from flows.first_look.proposal import Proposal

DATA = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Compare versions of the data set, keep a split, find an image."
)


@print_errors
def init(
    place: Annotated[Path, typer.Argument(metavar="PATH", help="folder of the data set, or its table or archive")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="take every proposal; nothing is asked")] = False,
    name: Annotated[str | None, typer.Option(help="of preset and study; by default that of the folder")] = None,
    kind: Annotated[str | None, typer.Option(help="adapter; by default the one that recognises the layout")] = None,
    again: Annotated[bool, typer.Option("--again", help="replace the preset of this name that init wrote")] = False,
    check: Annotated[bool, typer.Option(help="run the data checks afterwards")] = True,
) -> None:
    """Look at a data set, write a preset for it, make it active and check the data. The first command for own images.

    Says which adapter reads it, its columns, classes and ids, and what cannot be known. It changes no data.
    """
    from flows.commands.init import check_data, look_and_ask, write_and_use
    from flows.orchestration.freshness import read_stages, write_graph
    from flows.orchestration.processes import only_run

    answered = look_and_ask(given(place), name=name, kind=kind, ask=_take if yes else _ask, echo=typer.echo)
    if answered is None:
        typer.echo("nothing was written")
        return
    with only_run(entry.name for entry in read_stages(Path.cwd())):
        write_and_use(*answered, again=again, echo=typer.echo)
        write_graph(Path.cwd())
    if check:
        raise typer.Exit(check_data(typer.echo))


def _take(proposal: Proposal) -> Proposal:
    return proposal


def _ask(proposal: Proposal) -> Proposal | None:
    """Name, malignant diagnoses, and whether to write."""
    import sys

    from flows.commands.init import with_answers

    if not sys.stdin.isatty():
        raise RunError("init: standard input is no terminal, so nothing can be asked; add --yes")
    name = typer.prompt("name of preset and study", default=proposal.name)
    words = typer.prompt(
        "malignant diagnoses, with commas (empty: not known)", default=", ".join(proposal.malignant or ())
    )
    answered = with_answers(proposal, name, words)
    return answered if typer.confirm(f"write presets/{name}.yaml and make it active?", default=True) else None


@DATA.command("diff")
@print_errors
def data_diff(
    rev: Annotated[str, typer.Argument(help="git revision to compare with: a commit, tag or branch")],
    page: Annotated[
        Path | None, typer.Option(help="the HTML page with the changed images; by default reports/data-diff.html")
    ] = None,
) -> None:
    """List changes of the data set since a git revision. Compares images, labels, class shares and quality."""
    from flows.commands.data_diff import diff

    page = Path("reports/data-diff.html") if page is None else given(page)
    answer = diff(rev)
    answer.write(page)
    typer.echo("\n".join([*answer.lines(), "", f"Page with images: {page}"]))


@DATA.command("where")
@print_errors
def data_where(
    names: Annotated[
        list[str], typer.Argument(help="pseudonym or own id of an image, lesion or patient, or the path of an image")
    ],
) -> None:
    """Say which images an id or a path stands for. Prints original ids, path, row, label, split and quarantine reasons.

    Everything is read again from the data sets, with the key file; nothing is stored.
    """
    from flows.commands.data_where import where

    typer.echo("\n".join(where(names)))


@DATA.command("keep-split")
@print_errors
def keep_split(
    rev: Annotated[
        str | None,
        typer.Argument(help="git revision whose split is kept: a commit, tag or branch; by default the present files"),
    ] = None,
) -> None:
    """Keep a split for later data: its lesions and patients stay in train, val or test, and only new ones are drawn.

    Writes data/kept_split.csv, which DVC tracks, and sets split.keep in params.yaml. Not during a run.
    """
    from flows.commands.keep_split import keep_split as keep

    for line in keep(rev):
        typer.echo(line)


@print_errors
def key() -> None:
    """Create the secret key that hashes patient ids. It also hashes lesion ids; see privacy.key in params.yaml."""
    from flows.stage_io.pseudonym_key import make_key

    typer.echo(f"{make_key()}: keep it safe and outside the repository; later data get the same ids only with this key")


COMMANDS = (init, key)
"""In the order of `dermflow --help`; DATA has commands of its own."""
