"""What `ray submit` runs on the head of a cluster: `automl-kd` with the arguments that follow, in that cluster.

    ray submit benchmarks/cluster/aws.yaml benchmarks/submit.py -- search --out s3://BUCKET/runs

Only this file is copied, so it imports nothing but the package that the cluster file installs.
"""

from __future__ import annotations

import os

from automl_kd.cli import main

if __name__ == "__main__":
    os.environ.setdefault("RAY_ADDRESS", "auto")  # join the cluster that runs here, or end; never start a private Ray
    main()
