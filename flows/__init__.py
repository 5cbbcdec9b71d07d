"""The verbs, in time order: one file a stage of dvc.yaml, and the flow that runs them.

Importing it turns telemetry off, which these libraries read once, on their own import.
"""

import os

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
