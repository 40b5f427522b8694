"""`python -m automl_kd`, the same as the console script `automl-kd`."""

from automl_kd.cli import main

main()
