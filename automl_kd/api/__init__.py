"""What a Python program calls: thin, over `experiment`, so that a call does what a TOML file would.

May import `experiment` and below. `automl_kd` itself exports what is public.
"""
