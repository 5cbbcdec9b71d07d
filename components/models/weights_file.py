"""Files of weights: the only place that writes, reads and checks them (a classifier's adds `classifier_file`).

A file is safetensors with one metadata key, whose value is a header in JSON: `kind` (encoder or classifier), `version`,
`backbone` (settings of the architecture) and what the writer adds (arm, settings, classes, head). It is written whole
or not at all. Torch is imported inside the functions that need it: the stage cards reads headers without it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic_core import to_jsonable_python
from safetensors import SafetensorError, safe_open

from components.base.errors import CheckpointError
from components.base.files import whole
from components.models.backbone import Architecture, Backbone
from components.models.own_architecture import own_architecture

if TYPE_CHECKING:
    from torch import Tensor

    from components.models.encoder import Encoder

VERSION = 1
"""Of the header and the tensors' names; to be raised when older files can no longer be read."""

KEY = "dermflow"
"""The one metadata key: safetensors keeps no order among several keys, and equal files must have equal bytes."""

BUFFERS = ("running_mean", "running_var", "num_batches_tracked")
"""Tensors of BatchNorm that are not trained."""


def save_encoder(path: Path, encoder: Encoder, backbone: Architecture, provenance: Mapping[str, object]) -> None:
    """Write an encoder with its backbone's settings; `provenance` holds `arm` and the `settings` of its pretraining."""
    save_tensors(path, encoder.state_dict(), make_header("encoder", backbone, provenance))


def load_encoder(path: Path, backbone: Backbone) -> Encoder:
    """The encoder of a file, on the CPU and in training mode.

    Args:
        path: the file.
        backbone: of the settings; not used where the arm's pretraining method brought an architecture of its own.

    Raises:
        CheckpointError: where the file is missing or damaged, or was made with other settings of the backbone.
    """
    architecture = read_architecture(path, backbone)
    check_header(path, kind="encoder", backbone=architecture, fix="rerun the stage pretrain")
    encoder = architecture.build()
    encoder.load_state_dict(read_tensors(path))
    return encoder


def read_architecture(path: Path, backbone: Backbone) -> Architecture:
    """The architecture of a file: that of its pretraining method where that has one, else `backbone` of the settings.

    Raises:
        CheckpointError: where the file is missing or damaged.
    """
    return own_architecture(read_header(path).get("backbone", {}), path) or backbone


def save_tensors(path: Path, state: Mapping[str, Tensor], header: Mapping[str, object]) -> None:
    """Write tensors and a header; equal tensors and headers give equal bytes on any device and memory layout."""
    from safetensors.torch import save_file

    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    with whole(path) as unfinished:
        save_file(plain, unfinished, metadata={KEY: json.dumps(header, sort_keys=True)})


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a file by name, on the CPU.

    Raises:
        CheckpointError: where the file is missing or damaged.
    """
    with _opened(path, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # safe_open is no mapping


def read_header(path: Path) -> dict[str, Any]:
    """The header of a file; no tensor is read.

    Raises:
        CheckpointError: where the file is missing or damaged, or has no header of Dermflow.
    """
    with _opened(path, "np") as file:
        text = (file.metadata() or {}).get(KEY)
    if text is None:
        raise CheckpointError(f"{path}: has no {KEY!r} header, so it was not written by Dermflow; rerun its stage")
    try:
        header: dict[str, Any] = json.loads(text)
    except ValueError as error:
        raise CheckpointError(f"{path}: its {KEY!r} header is not JSON ({error}); rerun its stage") from error
    return header


def count_parameters(path: Path) -> int:
    """Number of trained values in a file, statistics of BatchNorm left out; no tensor is read."""
    with _opened(path, "np") as file:
        trained = [name for name in file.keys() if not name.endswith(BUFFERS)]  # noqa: SIM118  # no mapping
        return sum(prod(file.get_slice(name).get_shape()) for name in trained)


def check_header(path: Path, *, kind: str, backbone: Architecture, fix: str) -> dict[str, Any]:
    """The header of a file of this kind, of the present version and with these settings of the backbone.

    Raises:
        CheckpointError: for the first value that differs; the message ends with `fix`.
    """
    header = read_header(path)
    _expect(path, "kind", header.get("kind"), kind, fix)
    _expect(path, "version", header.get("version"), VERSION, fix)
    found, present = header.get("backbone", {}), to_jsonable_python(backbone)
    for key in sorted({*found, *present}):
        _expect(path, f"backbone.{key}", found.get(key), present.get(key), fix)
    return header


def make_header(kind: str, backbone: Architecture, provenance: Mapping[str, object]) -> dict[str, object]:
    """The values that `check_header` compares, and those of `provenance`."""
    return {"kind": kind, "version": VERSION, "backbone": to_jsonable_python(backbone), **provenance}


def _expect(path: Path, name: str, found: object, present: object, fix: str) -> None:
    if found != present:
        raise CheckpointError(f"{path}: was made with {name} = {found!r}, but now it is {present!r}; {fix}")


@contextmanager
def _opened(path: Path, framework: Literal["np", "pt"]) -> Iterator[Any]:
    try:
        file = safe_open(path, framework=framework)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: is not there; run the stage that makes it (dvc repro)") from None
    except SafetensorError as error:
        raise CheckpointError(f"{path}: is not a whole safetensors file ({error}); rerun its stage") from error
    with file:
        yield file
