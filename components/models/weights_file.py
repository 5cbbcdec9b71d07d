"""Weights as safetensors: written whole, with a header of settings that is checked when they are read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic_core import to_jsonable_python
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from components.base.errors import CheckpointError
from components.base.files import whole
from components.models.backbone import Backbone
from components.models.classifier import Classifier, Head
from components.models.encoder import Encoder

VERSION = 1
"""Of the file's layout; raised when an older file can no longer be read."""


KEY = "dermflow"
"""The one metadata key: safetensors keeps no order among several, and equal files must have equal bytes."""


def save_encoder(path: Path, encoder: Encoder, backbone: Backbone, provenance: Mapping[str, object]) -> None:
    """The encoder with its backbone's settings and `provenance` (arm, settings), whole or not at all."""
    header = {"kind": "encoder", "version": VERSION, "backbone": to_jsonable_python(backbone), **provenance}
    save_tensors(path, encoder.state_dict(), header)


def load_encoder(path: Path, backbone: Backbone) -> Encoder:
    """The encoder of a file that was made with the same backbone settings; CheckpointError otherwise."""
    check_header(path, kind="encoder", backbone=backbone, mend="rerun the stage pretrain")
    encoder = backbone.build()
    encoder.load_state_dict(read_tensors(path))
    return encoder


def save_tensors(path: Path, state: Mapping[str, Tensor], header: Mapping[str, object]) -> None:
    """Write tensors and a header as safetensors, under another name first and then moved into place.

    The same tensors and header give the same bytes, whatever the memory layout or device was.
    """
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    with whole(path) as unfinished:
        save_file(plain, unfinished, metadata={KEY: json.dumps(header, sort_keys=True)})


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a file that `save_tensors` wrote, on the CPU."""
    with _opened(path) as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # safe_open is no mapping


def read_header(path: Path) -> dict[str, Any]:
    """What `save_tensors` was told about the tensors."""
    with _opened(path) as file:
        words = (file.metadata() or {}).get(KEY)
    if words is None:
        raise CheckpointError(f"{path}: has no {KEY!r} header, so it was not written by Dermflow; rerun its stage")
    header: dict[str, Any] = json.loads(words)
    return header


def check_header(path: Path, *, kind: str, backbone: Backbone, mend: str) -> dict[str, Any]:
    """The header of a file of this kind, version and backbone; else an error that ends with `mend`."""
    header = read_header(path)
    _expect(path, "kind", header.get("kind"), kind, mend)
    _expect(path, "version", header.get("version"), VERSION, mend)
    found, present = header.get("backbone", {}), to_jsonable_python(backbone)
    for key in sorted({*found, *present}):
        _expect(path, f"backbone.{key}", found.get(key), present.get(key), mend)
    return header


def _expect(path: Path, name: str, found: object, present: object, mend: str) -> None:
    if found != present:
        raise CheckpointError(f"{path}: was made with {name} = {found!r}, but now it is {present!r}; {mend}")


def _opened(path: Path) -> Any:
    try:
        return safe_open(path, framework="pt")
    except FileNotFoundError:
        raise CheckpointError(f"{path}: is not there; run the stage that makes it (dvc repro)") from None
    except SafetensorError as error:
        raise CheckpointError(f"{path}: is not a whole safetensors file ({error}); rerun its stage") from error


MEND = "rerun the stage finetune"


def save_classifier(
    path: Path, state: Mapping[str, Tensor], backbone: Backbone, provenance: Mapping[str, object]
) -> None:
    """Write a classifier's state dict with its backbone's settings and `provenance`, whole or not at all.

    `provenance` holds `classes` (their names in order) and `head` (hidden, dropout), which reading needs.
    """
    header = {"kind": "classifier", "version": VERSION, "backbone": to_jsonable_python(backbone)}
    save_tensors(path, state, header | dict(provenance))


def load_classifier(path: Path, backbone: Backbone, classes: Sequence[str]) -> Classifier:
    """The classifier of a file made with the same backbone and classes, in evaluation mode."""
    header = check_header(path, kind="classifier", backbone=backbone, mend=MEND)
    if list(header["classes"]) != list(classes):
        raise CheckpointError(
            f"{path}: was made for classes {header['classes']}, but labels.scheme (params.yaml) now has "
            f"{list(classes)}; {MEND}"
        )
    encoder = backbone.build()
    head = Head(encoder.feature_dim, header["head"]["hidden"], header["head"]["dropout"], len(classes))
    classifier = Classifier(encoder, head)
    classifier.load_state_dict(read_tensors(path))
    return classifier.eval()
