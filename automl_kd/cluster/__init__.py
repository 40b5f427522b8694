"""Runs trials by Ray, on a laptop or a cluster. May import `samplers` and below; only this room imports Ray."""

from __future__ import annotations

import logging
import os

# Read by Ray when it is imported: no tables, boxes and tracebacks of its own, no result files beside ours, no snapshots
# of an experiment that our own records resume, no question about usage; the end of a trial's workers noticed at once.
os.environ.update(
    {
        "RAY_AIR_NEW_OUTPUT": "0",
        "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
        "RAY_USAGE_STATS_ENABLED": "0",
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
        "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
        "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",
        "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    }
)
# It asks for ipywidgets wherever a notebook starts Ray; nothing that we show needs them.
logging.getLogger("ray.widgets").setLevel(logging.ERROR)
