"""Settings that are edited while the pipeline runs: no stage uses them, and DVC records none for the former output."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.pipeline.conftest import Checkout, runs_of, wait_until

pytestmark = pytest.mark.slow
STAGES = ("synthesize", "ingest", "validate")


@pytest.fixture(scope="module")
def small(new_checkout: Callable[[], Checkout]) -> Checkout:
    """A checkout whose graph has three stages, and whose first one runs for long enough that settings can be edited."""
    checkout = new_checkout()
    checkout.use("synthesize.lesions=300", "synthesize.image_size=224")
    checkout.keep_stages(*STAGES)
    return checkout


def edit(checkout: Checkout, old: str, new: str) -> None:
    params = checkout.folder / "params.yaml"
    text = params.read_text()
    assert text.count(old) == 1
    params.write_text(text.replace(old, new))


def is_running(checkout: Checkout, stage: str) -> bool:
    return any(run.info.status == "RUNNING" and run.data.tags["stage"] == stage for run in runs_of(checkout))


def test_no_stage_of_a_run_uses_settings_that_were_edited_after_its_start(small: Checkout, tmp_path: Path) -> None:
    log = tmp_path / "flow.log"
    flow = small.start("-m", "flows.pipeline", output=log)
    wait_until(lambda: is_running(small, "synthesize"), flow, log)
    edit(small, "min_side: 32", "min_side: 33")
    refused = small.run("-m", "flows.commands.cli", "use", "demo", check=False)
    assert refused.returncode == 1 and "works in this checkout" in refused.stderr
    assert flow.wait(timeout=300) == 1
    text = log.read_text()
    assert "changed after this run started" in text
    assert "params.yaml: validate.min_side: 32 -> 33" in text
    lock = YAML(typ="safe").load(small.folder / "dvc.lock")
    assert set(lock["stages"]) == {"synthesize"}  # which does not use the setting
    edit(small, "min_side: 33", "min_side: 32")
    assert f"{len(STAGES)} stages up to date, 1 of them unchanged" in small.flow().stdout


def test_a_stage_whose_settings_are_edited_while_it_runs_is_not_recorded_as_made_with_them(
    small: Checkout, tmp_path: Path
) -> None:
    edit(small, "  seed: 7\n", "  seed: 8\n")
    log = tmp_path / "repro.log"
    repro = small.start("-m", "dvc", "repro", "synthesize", output=log)
    wait_until(lambda: is_running(small, "synthesize"), repro, log)
    edit(small, "  seed: 8\n", "  seed: 9\n")
    assert repro.wait(timeout=300) != 0
    assert "params.yaml: synthesize.seed: 8 -> 9" in log.read_text()
    lock = YAML(typ="safe").load(small.folder / "dvc.lock")
    assert lock["stages"]["synthesize"]["params"]["params.yaml"]["synthesize"]["seed"] == 7
