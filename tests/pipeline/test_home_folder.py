"""A data set in a home folder: `dvc repro` and the flow both find it, whatever begins with `~` in a command."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.pipeline.conftest import PEOPLE, Checkout, write_patients

pytestmark = pytest.mark.slow


@pytest.mark.thorough
def test_a_data_set_in_a_home_folder_is_read_by_dvc_and_by_the_flow(
    new_checkout: Callable[[], Checkout], tmp_path: Path
) -> None:
    checkout = new_checkout()
    checkout.environment |= {"HOME": str(tmp_path / "erika"), "DERMFLOW_KEY_FILE": "~/key"}
    write_patients(tmp_path / "erika" / "clinic")
    checkout.run("-m", "flows.commands.cli", "key")
    assert (tmp_path / "erika" / "key").is_file()
    checkout.use(*PEOPLE, "dataset.path=~/clinic")
    checkout.keep_stages("synthesize", "ingest")
    checkout.repro()
    assert (checkout.folder / "data" / "records.parquet").is_file()
    assert "2 stages up to date, 2 of them unchanged" in checkout.flow().stdout
    params = checkout.folder / "params.yaml"
    params.write_text(params.read_text().replace(str(tmp_path / "erika"), "~"))
    refused = checkout.flow(check=False)
    assert refused.returncode == 1
    assert f"write {tmp_path / 'erika' / 'clinic'}" in refused.stdout + refused.stderr
