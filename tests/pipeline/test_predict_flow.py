"""`predict` as a Prefect flow: a run that completes writes the table, one that fails says why."""

from __future__ import annotations

from contextlib import chdir
from pathlib import Path

import pandas as pd
import pytest
from prefect.testing.utilities import prefect_test_harness
from ruamel.yaml import YAML

from components.base.errors import DataError
from tests.unit.comparison.simulated_study import FOLDERS
from tests.unit.deployment.bundled_study import make_bundle
from tests.unit.flows.test_prediction import write_images

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # Prefect's server, in this process
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def test_the_flow_of_prefect_yaml_writes_the_table(tmp_path: Path, repo: Path) -> None:
    """Its entrypoint is loaded as Prefect's worker does."""
    from prefect.flows import load_flow_from_entrypoint

    deployments = YAML(typ="safe").load((repo / "prefect.yaml").read_text())["deployments"]
    entry = next(each for each in deployments if each["name"] == "predict")
    make_bundle(tmp_path / "study")
    write_images(tmp_path / "images", 3)
    out = tmp_path / "answers.parquet"
    given = {"model": str(tmp_path / "study" / FOLDERS["bundle"]), "out": str(out)}
    with prefect_test_harness(server_startup_timeout=120), chdir(repo):
        flow = load_flow_from_entrypoint(entry["entrypoint"])
        flow(images=[str(tmp_path / "images")], **given)
        table = pd.read_parquet(out)
        assert len(table) == 3
        assert table["error"].isna().all()
        with pytest.raises(DataError, match="does not exist"):
            flow(images=[str(tmp_path / "none")], **given)
