"""Whether a VAE was trained well enough to be judged: alarms in words, from the curve of its training alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from components.training.pretraining.convergence import find_unfinished

LEAST_ACTIVE = 0.1
"""Share of the latents that must be active."""

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
    unfinished = find_unfinished([row["val/elbo"] for row in curve], "rise of the ELBO on val")
    found = [_posterior_collapse(last, latents), *unfinished, _dead_decoder(last, latents)]
    return [alarm for alarm in found if alarm]


def _posterior_collapse(row: Mapping[str, float], latents: int) -> str:
    active = int(row["val/active_units"])
    if active >= LEAST_ACTIVE * latents:
        return ""
    return (
        f"posterior collapse: {active} of {latents} latents are active (expected {LEAST_ACTIVE:.0%} or more), the KL "
        f"is {row['val/kl']:.2f} nats an image"
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
