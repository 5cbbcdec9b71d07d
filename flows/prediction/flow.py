"""The same as `dermflow predict` as a Prefect flow, for a deployment: `prefect.yaml`, `predict`."""

from __future__ import annotations

from pathlib import Path

from prefect import flow, get_run_logger

from flows.prediction.job import predict as predict_images


@flow(name="dermflow-predict", flow_run_name="predict {out}")
def predict(
    images: list[str], model: str | None = None, out: str = "predictions.parquet", column: str | None = None
) -> None:
    """Predict images into a table.

    Args:
        images: paths of images, folders or tables, on the worker's host.
        model: as `dermflow predict --model` takes it; null: the bundle of the checkout.
        out: the table to write, .parquet or .csv.
        column: of a table, the column of paths; null: `path`.
    """
    echo = get_run_logger().info
    predict_images([Path(each) for each in images], model=model, out=Path(out), column=column, echo=echo)
