"""A bundle: one folder with all that an answer needs. Written whole, and verified when it is opened.

| file | content |
|---|---|
| bundle.json | `manifest.Manifest`, with the sha256 of each other file |
| classifier.safetensors | the file of the fine-tuning run, byte for byte |
| outliers.safetensors | `outliers.OutlierReference` |
| trained_on.json | hashes of the ids of its train and val images, see `trained_on` |
| model_card.md | the card, where it is of this run |
| SHA256SUMS | that of bundle.json, as `sha256sum` writes and checks it |

Nothing is pickled. Torch is imported by `load_classifier` alone.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from components.base.errors import CheckpointError
from components.base.families import load_member, members
from components.base.files import file_sha256, whole, write_text
from components.deployment.manifest import VERSION, Manifest
from components.deployment.outliers import TENSORS, OutlierReference
from components.models.backbone import Backbone
from components.models.own_architecture import own_architecture

if TYPE_CHECKING:
    from components.models.classifier import Classifier

MANIFEST, CLASSIFIER, OUTLIERS, CARD = "bundle.json", "classifier.safetensors", "outliers.safetensors", "model_card.md"
TRAINED_ON = "trained_on.json"
SUMS = "SHA256SUMS"

AGAIN = "make it again (dvc repro bundle), or copy it again from where it was made"


@dataclass(frozen=True)
class Bundle:
    """A verified bundle."""

    folder: Path
    manifest: Manifest
    sha256: str
    """Of bundle.json, which holds the hashes of all other files: it names the model and its settings."""


def write_bundle(
    folder: Path,
    manifest: Callable[[Mapping[str, str]], Manifest],
    *,
    classifier: Path,
    outliers: OutlierReference,
    trained_on: str,
    card: Path | None,
) -> Bundle:
    """Write a bundle whole or not at all.

    Args:
        folder: is replaced where it exists.
        manifest: makes the manifest from the sha256 of each other file.
        classifier: the weights file of the run.
        outliers: of the same classifier's features.
        trained_on: text of `trained_on.as_text`.
        card: the model card; None where there is none of this run.
    """
    with whole(folder) as part:
        part.mkdir()
        shutil.copyfile(classifier, part / CLASSIFIER)
        save_file(outliers.as_arrays(), part / OUTLIERS)
        write_text(part / TRAINED_ON, trained_on)
        if card is not None:
            shutil.copyfile(card, part / CARD)
        hashes = {path.name: file_sha256(path) for path in sorted(part.iterdir())}
        content = manifest(hashes).model_dump(mode="json")
        write_text(part / MANIFEST, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
        write_text(part / SUMS, f"{file_sha256(part / MANIFEST)}  {MANIFEST}\n")
    return open_bundle(folder)


def open_bundle(folder: Path) -> Bundle:
    """The bundle of a folder, after every file of it was compared with its hash.

    Raises:
        CheckpointError: where a file is missing, changed or superfluous, or the manifest is of another version.
    """
    path = folder / MANIFEST
    try:
        text = path.read_bytes()
    except OSError as error:
        raise CheckpointError(
            f"{folder}: is no bundle, {MANIFEST} cannot be read ({error.strerror}); expected the folder that the stage "
            "bundle writes (dvc repro bundle)"
        ) from error
    manifest = _parse(text, path)
    sha256 = hashlib.sha256(text).hexdigest()
    if _read(folder / SUMS) != f"{sha256}  {MANIFEST}\n".encode():
        raise CheckpointError(f"{path}: its sha256 {sha256[:12]} is not that of {SUMS}: one was changed; {AGAIN}")
    surplus = sorted({each.name for each in folder.iterdir()} - {MANIFEST, SUMS, *manifest.files})
    if surplus:
        raise CheckpointError(f"{folder}: holds {surplus}, which {MANIFEST} does not list; {AGAIN}")
    for name, expected in manifest.files.items():
        _compare(folder / name, expected)
    return Bundle(folder, manifest, sha256)


def check_unchanged(bundle: Bundle) -> None:
    """Open the bundle again, after its files were loaded.

    Raises:
        CheckpointError: where it was replaced meanwhile, so that what was loaded may be of two models.
    """
    if open_bundle(bundle.folder).sha256 != bundle.sha256:
        raise CheckpointError(f"{bundle.folder}: was replaced while it was loaded; repeat the command")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror}); {AGAIN}") from error


def _parse(text: bytes, path: Path) -> Manifest:
    try:
        content = json.loads(text)
        version = content.get("version")
    except (ValueError, AttributeError) as error:
        raise CheckpointError(f"{path}: is no JSON object ({error}); {AGAIN}") from error
    if version != VERSION:
        raise CheckpointError(
            f"{path}: is of version {version!r}, expected {VERSION}, which this Dermflow reads; {AGAIN}"
        )
    try:
        manifest = Manifest(**content)
    except (ValidationError, TypeError) as error:
        first = (
            f"{error.errors()[0]['loc']}: {error.errors()[0]['msg']}" if isinstance(error, ValidationError) else error
        )
        raise CheckpointError(f"{path}: is no manifest of a bundle ({first}); {AGAIN}") from error
    unknown = sorted(name for name in manifest.files if name not in (CLASSIFIER, OUTLIERS, TRAINED_ON, CARD))
    if unknown or not {CLASSIFIER, OUTLIERS} <= manifest.files.keys():
        raise CheckpointError(f"{path}: lists {sorted(manifest.files)}, expected {[CLASSIFIER, OUTLIERS]}; {AGAIN}")
    return manifest


def _compare(path: Path, expected: str) -> None:
    if not path.is_file():
        raise CheckpointError(f"{path}: is missing, but {MANIFEST} lists it; {AGAIN}")
    try:
        found = file_sha256(path)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror}); {AGAIN}") from error
    if found != expected:
        raise CheckpointError(
            f"{path}: its sha256 is {found[:12]}, expected {expected[:12]} of {MANIFEST}: the file was changed; {AGAIN}"
        )


def load_classifier(bundle: Bundle) -> Classifier:
    """The classifier of a bundle, on the CPU and in evaluation mode.

    Raises:
        CheckpointError: where the present code does not know its architecture.
    """
    from components.models import classifier_file

    manifest, path = bundle.manifest, bundle.folder / CLASSIFIER
    return classifier_file.load_classifier(path, architecture(manifest.backbone, path), manifest.classes)


def load_outliers(bundle: Bundle) -> OutlierReference:
    """The reference for images that are unlike the train images.

    Raises:
        CheckpointError: where the file does not hold the arrays of `OutlierReference`.
    """
    path = bundle.folder / OUTLIERS
    try:
        arrays = load_file(path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: is no safetensors file ({error}); {AGAIN}") from error
    if sorted(arrays) != sorted(TENSORS):
        raise CheckpointError(f"{path}: holds {sorted(arrays)}, expected {sorted(TENSORS)}; {AGAIN}")
    return OutlierReference.from_arrays(arrays)


def architecture(settings: Mapping[str, Any], path: Path) -> Backbone:
    """The architecture that the settings name: a general backbone, or one that a pretraining method brought."""
    own = own_architecture(settings, path)
    if own is not None:
        return cast(Backbone, own)  # `load_classifier` finds it in the file, too
    kind = str(settings.get("kind"))
    if kind not in members("models.backbones"):
        raise CheckpointError(
            f"{path}: has the backbone {kind!r}, expected one of {list(members('models.backbones'))}; {AGAIN}"
        )
    try:
        return cast(Backbone, load_member("models.backbones", kind).Config(**settings))
    except ValidationError as error:
        raise CheckpointError(
            f"{path}: components/models/backbones/{kind}.py does not know the settings {dict(settings)} "
            f"({error.errors()[0]['msg']}); {AGAIN}"
        ) from error
