"""Names of files that every part of the pipeline knows; this module imports nothing that takes time to load."""

from pathlib import Path

PARAMS = Path("params.yaml")
