"""A bundle in words, for MLflow's registry: test figures and thresholds first, then the model card."""

from __future__ import annotations

from components.deployment.bundle import CARD, Bundle
from components.deployment.manifest import Manifest, Rate

LONGEST = 5000
"""Characters that MLflow's table holds."""

CUT = "\n\n(The whole card is model_card.md of the bundle.)"


def describe_bundle(bundle: Bundle) -> str:
    """Markdown of at most LONGEST characters."""
    text = "\n".join([*_opening(bundle.manifest), "", *_figures(bundle.manifest), "", *_thresholds(bundle.manifest)])
    if CARD in bundle.manifest.files:
        text += "\n\n" + (bundle.folder / CARD).read_text("utf-8")
    return text if len(text) <= LONGEST else text[: LONGEST - len(CUT)] + CUT


def _opening(manifest: Manifest) -> list[str]:
    lines = [f"Run {manifest.run} of the study {manifest.provenance.study}. {manifest.recommendation}"]
    if manifest.synthetic:
        lines.append("SYNTHETIC: trained on drawings; its answers say nothing about patients.")
    return [*lines, manifest.protocol_followed]


def _figures(manifest: Manifest) -> list[str]:
    """The metrics of the run on test images that are single numbers."""
    rows = [f"| {name} | {value:.3f} |" for name, value in manifest.test.items() if isinstance(value, (int, float))]
    return ["| on test images | |", "|---|---|", *rows]


def _thresholds(manifest: Manifest) -> list[str]:
    """How images are called malignant, and when no answer is given."""
    found = [f"Abstains below confidence {manifest.abstention.threshold:.3f}; temperature {manifest.temperature:.3f}."]
    if manifest.point is None:
        return [*found, "No threshold of malignancy."]
    point = manifest.points[manifest.point]
    rates = ", ".join(f"{name} {_shown(rate)}" for name, rate in point.test.items())
    return [
        *found,
        f"Malignant from {point.threshold:.4f} on (val {point.fixed} of at least {point.level:g}); on test: {rates}.",
    ]


def _shown(rate: Rate) -> str:
    if rate.mean is None:
        return "not known"
    ends = "" if rate.low is None or rate.high is None else f" ({rate.low:.3f} to {rate.high:.3f})"
    return f"{rate.mean:.3f}{ends}"
