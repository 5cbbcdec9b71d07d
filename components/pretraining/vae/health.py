"""Whether a VAE was trained well enough to be judged: alarms in words, from the curve of its training alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

LEAST_ACTIVE = 0.1
"""Share of the latents that must be active."""

MOST_RISE = 0.05
"""Share of the ELBO's whole rise that the last epoch may still add."""

LEAST_OF_PCA = 0.5
"""Share of what PCA with as many numbers explains that the reconstruction must explain."""


def find_alarms(curve: Sequence[Mapping[str, float]], latents: int) -> list[str]:
    """One sentence with its numbers for each sign of a failed or unfinished training; none for a sound one.

    Args:
        curve: a row an epoch with the columns `val/active_units`, `val/kl`, `val/elbo`, `val/explained`,
            `val/explained_pca`.
        latents: number of latents.
    """
    last = curve[-1]
    found = [_posterior_collapse(last, latents), _not_converged(curve), _dead_decoder(last, latents)]
    return [alarm for alarm in found if alarm]


def _posterior_collapse(row: Mapping[str, float], latents: int) -> str:
    active = int(row["val/active_units"])
    if active >= LEAST_ACTIVE * latents:
        return ""
    return (
        f"posterior collapse: {active} of {latents} latents are active (expected {LEAST_ACTIVE:.0%} or more), the KL "
        f"is {row['val/kl']:.2f} nats an image"
    )


def _not_converged(curve: Sequence[Mapping[str, float]]) -> str:
    """The rise is counted from the lowest to the highest ELBO of all epochs: the ELBO itself can be near 0."""
    if len(curve) < 2:
        return "not converged: one epoch alone does not show that the ELBO has stopped rising"
    elbo = [row["val/elbo"] for row in curve]
    rise, whole = elbo[-1] - elbo[-2], max(elbo) - min(elbo)
    if rise <= MOST_RISE * whole:
        return ""
    return (
        f"not converged: the last of {len(curve)} epochs still added {rise / whole:.0%} of the whole rise of the ELBO "
        f"on val (expected {MOST_RISE:.0%} or less)"
    )


def _dead_decoder(row: Mapping[str, float], latents: int) -> str:
    explained, of_pca = row["val/explained"], row["val/explained_pca"]
    if explained <= 0:
        return f"dead decoder: reconstructions of val explain no more than the mean image ({explained:.1%} of variance)"
    if explained >= LEAST_OF_PCA * of_pca:
        return ""
    return (
        f"dead decoder: reconstructions explain {explained:.1%} of the variance of val, PCA with {latents} components "
        f"{of_pca:.1%} (expected {LEAST_OF_PCA:.0%} of that or more)"
    )
