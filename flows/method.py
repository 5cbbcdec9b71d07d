"""Record the method of one arm: its settings and the hash of its code. Every draw of its pretraining depends on it."""

from __future__ import annotations

from typing import Any

from flows.settings.training import Pretrain as PretrainSettings
from flows.stage import stage
from flows.stage_io.methods import choose_method, describe_method


@stage
def method(arm: str, pretrain: PretrainSettings) -> dict[str, Any]:
    """The metrics file is the record; nothing else is written, and torch is not imported."""
    return describe_method(arm, choose_method(arm, pretrain))


if __name__ == "__main__":
    method.main()
