"""The file of a classifier: weights, backbone, head and classes.

A module of its own, so that no change of the head makes a pretraining stale.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from components.base.errors import CheckpointError
from components.models.backbone import Architecture, Backbone
from components.models.weights_file import check_header, make_header, read_architecture, read_tensors, save_tensors

if TYPE_CHECKING:
    from torch import Tensor

    from components.models.classifier import Classifier


def save_classifier(
    path: Path, state: Mapping[str, Tensor], backbone: Architecture, provenance: Mapping[str, object]
) -> None:
    """Write a classifier's state dict with its backbone's settings.

    `provenance` holds at least `classes` (names in the order of the logits), `features` (the readout) and `head`
    (hidden, dropout), which `load_classifier` needs.
    """
    save_tensors(path, state, make_header("classifier", backbone, provenance))


def load_classifier(path: Path, backbone: Backbone, classes: Sequence[str]) -> Classifier:
    """The classifier of a file, on the CPU and in evaluation mode.

    Args:
        path: the file.
        backbone: of the settings; not used where the arm's pretraining method brought an architecture of its own.
        classes: names in the order of the logits.

    Raises:
        CheckpointError: where the file is missing or damaged, or was made with another backbone or other classes.
    """
    from components.models.classifier import Classifier, Head

    fix = "rerun the stage finetune"
    architecture = read_architecture(path, backbone)
    header = check_header(path, kind="classifier", backbone=architecture, fix=fix)
    if list(header["classes"]) != list(classes):
        raise CheckpointError(
            f"{path}: was made for classes {header['classes']}, but labels.scheme (params.yaml) now has "
            f"{list(classes)}; {fix}"
        )
    encoder = architecture.build().read(header["features"])
    head = Head(encoder.feature_sizes, header["head"]["hidden"], header["head"]["dropout"], len(classes))
    classifier = Classifier(encoder, head)
    classifier.load_state_dict(read_tensors(path))
    return classifier.eval()
