"""Registered versions of a study's model. The same bundle is registered once: its sha256 names it.

A version has the bundle as an MLflow model (`model`), a description with the test figures, and tags that lead back to
the run, the commit and the data.
"""

from __future__ import annotations

import re
from pathlib import Path
from tempfile import TemporaryDirectory

from filelock import FileLock
from mlflow.artifacts import download_artifacts
from mlflow.entities import LoggedModel, Run
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import (
    INVALID_PARAMETER_VALUE,
    RESOURCE_ALREADY_EXISTS,
    RESOURCE_DOES_NOT_EXIST,
    ErrorCode,
)
from mlflow.tracking import MlflowClient

from components.base.errors import CheckpointError, RunError
from components.base.files import whole
from components.deployment.bundle import MANIFEST, Bundle, open_bundle
from components.deployment.description import describe_bundle
from flows.registry.model import write_model
from flows.settings import Settings
from flows.tracking.lineage import lineage_tags
from flows.tracking.mlflow_log import mlruns_folder, open_experiment, search_runs, tracking_uri
from flows.tracking.stored_places import local_folder

LINEAGE = ("git.commit", "git.state", "git.dirty", "dvc.lock.md5", "dvc.data", "dvc.split")
BUNDLE, VERSION = "bundle", "bundle/version"  # tags: of version and run; of the run
NO_RUN = "none"
CHAMPION, PREVIOUS = "champion", "previous"
"""Aliases: the version in use, and the one that was in use before."""

_URI = re.compile(r"models:/(?P<name>[^/@]+)(?:@(?P<alias>[^/@]+)|/(?P<version>\d+))")


def model_name(study: str) -> str:
    """`dermflow-STUDY`, without the characters that MLflow refuses in names."""
    return "dermflow-" + re.sub(r"[^\w.-]+", "-", study)


def register(client: MlflowClient, bundle: Bundle, settings: Settings) -> tuple[ModelVersion, bool]:
    """The registered version of a bundle, and whether it is new.

    The MLflow run that made the bundle gets a tag with the version.
    """
    name = model_name(settings.study.name)
    mlruns_folder().mkdir(exist_ok=True)
    with FileLock(mlruns_folder() / ".registry.lock"):
        found = find_version(client, name, bundle.sha256)
        return (found, False) if found else (_create(client, name, bundle, settings), True)


def find_version(client: MlflowClient, name: str, sha256: str) -> ModelVersion | None:
    """The version of a registered model that holds this bundle; None where there is none."""
    versions = client.search_model_versions(f"name = '{name}'")
    return next((each for each in versions if each.tags.get(BUNDLE) == sha256), None)


def _create(client: MlflowClient, name: str, bundle: Bundle, settings: Settings) -> ModelVersion:
    """Log the model beside the run that made the bundle, then register it: a version never lacks its files."""
    run = _find_run(client, bundle.sha256)
    run_id = run.info.run_id if run else None
    experiment = run.info.experiment_id if run else open_experiment(client, settings.study.name)
    tags = _tags(bundle, run, settings)
    logged = client.create_logged_model(experiment, "bundle", run_id, tags=tags)
    try:
        with TemporaryDirectory() as folder:
            write_model(bundle, Path(folder) / "model", run_id=run_id, model_id=logged.model_id)
            client.log_model_artifacts(logged.model_id, str(Path(folder) / "model"))
        client.finalize_logged_model(logged.model_id, "READY")
        _create_name(client, name)
        version = client.create_model_version(
            name, _source(logged), run_id, tags,
            description=describe_bundle(bundle),
            model_id=logged.model_id if run_id else None,  # without a run MLflow would ask its default store for one
        )  # fmt: skip
    except BaseException:
        client.delete_logged_model(logged.model_id)
        raise
    if run_id:
        client.set_tag(run_id, VERSION, f"{name}/{version.version}")
    return version


def _source(logged: LoggedModel) -> str:
    """Where a version finds its files: a server looks the model up, a database would ask MLflow's default store."""
    return f"models:/{logged.model_id}" if tracking_uri().startswith("http") else str(logged.artifact_location)


def _create_name(client: MlflowClient, name: str) -> None:
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != ErrorCode.Name(RESOURCE_ALREADY_EXISTS):
            raise


def _find_run(client: MlflowClient, sha256: str) -> Run | None:
    """The newest MLflow run that made this bundle; None where another store recorded it."""
    runs = search_runs(client, f"tags.stage = 'bundle' and tags.{BUNDLE} = '{sha256}'", limit=1)
    return runs[0] if runs else None


def _tags(bundle: Bundle, run: Run | None, settings: Settings) -> dict[str, str]:
    """What leads back: the lineage is that of the run which made the bundle, else of this checkout."""
    lineage = run.data.tags if run else lineage_tags(settings)
    manifest = bundle.manifest
    return {
        BUNDLE: bundle.sha256,
        "run": manifest.run,
        "study": manifest.provenance.study,
        "recommended": str(manifest.recommended).lower(),
        "synthetic": str(manifest.synthetic).lower(),
        "mlflow.run": run.info.run_id if run else NO_RUN,
        **{key: lineage[key] for key in LINEAGE if key in lineage},
    }


def get_version(client: MlflowClient, model: str) -> ModelVersion:
    """The version that an address names.

    Args:
        client: of the store.
        model: models:/NAME@ALIAS or models:/NAME/VERSION.

    Raises:
        RunError: where the address has another form, or there is no such version.
    """
    found = _URI.fullmatch(model)
    if not found:
        raise RunError(
            f"{model}: expected models:/NAME@ALIAS (such as models:/dermflow-demo@champion) or models:/NAME/3"
        )
    try:
        if found["alias"]:
            return client.get_model_version_by_alias(found["name"], found["alias"])
        return client.get_model_version(found["name"], found["version"])
    except MlflowException as error:
        raise RunError(
            f"{model}: is not in MLflow's registry ({error.message}); `dermflow register` makes a version, "
            "`dermflow promote` the alias champion"
        ) from error


def find_alias(client: MlflowClient, name: str, alias: str) -> ModelVersion | None:
    """The version with an alias; None where no version has it or the model is not registered."""
    try:
        return client.get_model_version_by_alias(name, alias)
    except MlflowException as error:
        if error.error_code in (ErrorCode.Name(RESOURCE_DOES_NOT_EXIST), ErrorCode.Name(INVALID_PARAMETER_VALUE)):
            return None
        raise


def open_version(client: MlflowClient, version: ModelVersion) -> Bundle:
    """The verified bundle of a version.

    Raises:
        RunError: where its files are gone.
        CheckpointError: where they are not those that were registered.
    """
    bundle = open_bundle(fetch_bundle(client, version))
    if bundle.sha256 != version.tags.get(BUNDLE):
        raise CheckpointError(
            f"models:/{version.name}/{version.version}: its bundle is {bundle.sha256[:12]}, expected "
            f"{version.tags.get(BUNDLE, NO_RUN)[:12]} of its tag {BUNDLE!r}: the files were replaced; register it again"
        )
    return bundle


def fetch_bundle(client: MlflowClient, version: ModelVersion) -> Path:
    """The folder of a version's bundle: where MLflow keeps it on this host, else a copy of it in `mlruns/fetched`.

    Raises:
        RunError: where the files of the version are gone.
    """
    address = f"models:/{version.name}/{version.version}"
    try:
        folder = local_folder(client.get_model_version_download_uri(version.name, version.version))
        if folder is None:
            folder = mlruns_folder() / "fetched" / f"{version.name}-{version.version}"
            if not folder.exists():
                _download(address, folder)
    except (MlflowException, OSError) as error:
        raise _lost(address, str(error)) from error
    found = sorted(path.parent for path in folder.glob(f"**/{MANIFEST}"))
    if len(found) != 1:
        raise _lost(address, f"{folder} has {len(found)} bundles, expected one")
    return found[0]


def _download(address: str, folder: Path) -> None:
    with whole(folder) as part:
        part.mkdir()
        download_artifacts(artifact_uri=address, dst_path=str(part), tracking_uri=tracking_uri())


def _lost(address: str, found: str) -> RunError:
    return RunError(
        f"{address}: its files cannot be read ({found}); restore MLflow's folder of artifacts, or register the bundle "
        "again from the checkout that made it"
    )
