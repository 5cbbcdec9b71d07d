"""Stage synthesize: draws the SYNTHETIC data set, so that the pipeline runs without a download."""

from __future__ import annotations

from typing import Any

from components.base.log import Log
from components.synthetic.confounders import CONFOUNDERS
from components.synthetic.dataset import draw_dataset
from flows.settings.data import Synthesize as SynthesizeSettings
from flows.settings.study import Paths
from flows.stage import stage


@stage
def synthesize(synthesize: SynthesizeSettings, paths: Paths, log: Log) -> dict[str, Any]:
    """Write images/, metadata.csv and README.txt to paths.synthetic; 0 lesions leave it without images."""
    table = draw_dataset(paths.synthetic, **synthesize.model_dump(), track=log.track)
    log.line(f"{len(table)} SYNTHETIC images of {table['lesion_id'].nunique()} lesions in {paths.synthetic}")
    return {
        "images": len(table),
        "lesions": int(table["lesion_id"].nunique()),
        "patients": int(table["patient_id"].nunique()),
        "unlabelled": int(table["diagnosis"].isna().sum()),
        "confounders": {name: int(table[name].sum()) for name in CONFOUNDERS},
    }


if __name__ == "__main__":
    synthesize.main()
