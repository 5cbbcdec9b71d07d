"""The class frequencies of the study's train images, and the prior that training gave its models."""

from __future__ import annotations

import numpy as np
import pandas as pd

from components.data.labels import Labels
from components.statistics.prior import Priors, find_priors
from components.training.settings import Finetune
from flows.settings.study import Paths
from flows.stage_io.split_table import read_split


def read_priors(paths: Paths, labels: Labels, finetune: Finetune) -> Priors:
    """From the table of `split`; the order of classes is that of `labels`."""
    split = read_split(paths.split)
    train = split.loc[split["split"] == "train", "label"]
    codes = pd.Index(list(labels.classes)).get_indexer(pd.Index(train)).astype(np.int64)
    return find_priors(codes, len(labels.classes), finetune.imbalance)
