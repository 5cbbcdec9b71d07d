"""Commands of the command line about the model for use; `cli` adds them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.commands.place import given, given_model
from flows.commands.print_errors import print_errors

MODEL = (
    "folder of a bundle, models:/NAME@champion, models:/NAME/3, or NAME for its champion; by default the bundle of "
    "this checkout"
)
"""Help of the option --model."""


@print_errors
def predict(
    images: Annotated[
        list[Path], typer.Argument(help="images, folders with all images below, or tables with a column of paths")
    ],
    model: Annotated[str | None, typer.Option(help=MODEL)] = None,
    out: Annotated[Path, typer.Option(help="the table to write, .parquet or .csv")] = Path("predictions.parquet"),
    column: Annotated[str | None, typer.Option(help="of a table: the column of paths; by default path")] = None,
) -> None:
    """Predict images with the model for use: probabilities, decision, classes that cannot be excluded, abstention.

    An image that cannot be read gets a row with the reason. A command that was stopped continues when it is repeated.
    """
    from flows.prediction.job import predict as predict_images

    predict_images(
        [given(path) for path in images], model=given_model(model), out=given(out), column=column, echo=typer.echo
    )


@print_errors
def serve(
    model: Annotated[str | None, typer.Option(help=MODEL)] = None,
    host: Annotated[
        str, typer.Option(help="address to listen at; others than this host's need a token in DERMFLOW_SERVE_TOKEN")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0: any free one")] = 8700,
) -> None:
    """Serve the model for use over HTTP until Ctrl-C: /predict, /health, /metrics, /docs, /openapi.json."""
    from flows.commands.serve import serve as serve_model

    serve_model(model=given_model(model), host=host, port=port, echo=typer.echo)


@print_errors
def export(
    folder: Annotated[Path, typer.Argument(help="the folder to write")],
    onnx: Annotated[bool, typer.Option("--onnx", help="the classifier for ONNX Runtime, with a loader")] = False,
    timm: Annotated[bool, typer.Option("--timm", help="the encoder for timm.create_model")] = False,
    model: Annotated[str | None, typer.Option(help=MODEL)] = None,
) -> None:
    """Write the model for use in a form that needs no Dermflow: for ONNX Runtime, or its encoder for timm."""
    from flows.commands.export import export as export_model

    typer.echo(export_model(given(folder), onnx=onnx, timm=timm, model=given_model(model)))


@print_errors
def register() -> None:
    """Register the model for use (data/bundle) in MLflow. The same bundle is registered once."""
    from flows.commands.register import register as register_bundle

    register_bundle(typer.echo)


@print_errors
def promote(
    candidate: Annotated[
        str | None, typer.Option(help="number of a registered version; by default the bundle of this checkout")
    ] = None,
    approve: Annotated[str | None, typer.Option(help="number of a proposed version: make it the champion")] = None,
    rollback: Annotated[bool, typer.Option("--rollback", help="make the previous champion the champion again")] = False,
) -> None:
    """Propose a model for use, or approve one. A proposal compares it with the champion on the same test lesions.

    Prints the gates and writes reports/promotion.html. Exit status 1 where a gate does not pass. All proposals,
    approvals and rollbacks are recorded in mlruns/promotions.jsonl.
    """
    from flows.commands.promote import promote as promote_model

    if not promote_model(candidate, approve, rollback, typer.echo):
        raise typer.Exit(1)


COMMANDS = (predict, serve, export, register, promote)
"""In the order of `dermflow --help`."""
