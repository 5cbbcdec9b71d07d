"""The share of images whose most probable class is the right one."""

from components.statistics.weighting import Array, Labels, Probabilities, scalar_metric, weighted_mean


@scalar_metric
def accuracy(labels: Labels, probabilities: Probabilities, weights: Array) -> Array:
    """In [0, 1]; at equal probabilities the first class is the prediction."""
    return weighted_mean(probabilities.argmax(axis=1) == labels, weights)
