"""The pipeline: one file for each stage of dvc.yaml, the flow that runs them, and the command line.

Importing this package turns off the telemetry of the libraries below, which read these variables when imported, lets a
stage start where the libraries are loaded already (`warm_start`), and defers torch's compiler (`deferred_imports`),
which must come before torchvision.
"""

import os

from flows.deferred_imports import defer_dynamo
from flows.warm_start import hand_over

for _switch, _value in {
    "DO_NOT_TRACK": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DVC_NO_ANALYTICS": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "NO_ALBUMENTATIONS_UPDATE": "1",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",  # a slow host needs more than the default 20
    "GIT_PYTHON_REFRESH": "quiet",
}.items():
    os.environ.setdefault(_switch, _value)

hand_over()
defer_dynamo()
