"""One metric a file, each a pure function of labels and class probabilities, named as its file.

Signature: `name(labels: (N,) int, probabilities: (N, K) float) -> float` (or an array or mapping where the
docstring says so). `components.metrics.all_scalars` is for callers that want every scalar metric.
"""
