#!/usr/bin/env bash
# The first optimizer that a process makes imports torch's compiler, compiled or not.
#
# Versions: torch 2.13.0, on Linux.
# Expected: a program that never calls torch.compile never loads the compiler, and SGD costs nothing to make.
# Seen: torch.optim.SGD(...) imports torch._dynamo and sympy with it, some 500 modules: its methods are marked "not to be
# compiled" by a decorator that imports the compiler when the first of them is called. FlopCounterMode does the same at its
# first operation. A process for each trial pays that in each trial, within what is timed as training or as counting.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
export OMP_NUM_THREADS=1
python3 -m venv environment
environment/bin/pip install --quiet --no-compile torch==2.13.0 numpy==2.4.6
environment/bin/python - <<'PROGRAM'
import subprocess
import sys

HEAD = "import sys, time, torch; layer = torch.nn.Linear(2, 2); out = layer(torch.zeros(1, 2)); out.sum().backward();"
TELL = "print('torch._dynamo' in sys.modules, 'sympy' in sys.modules, sum(one.startswith('torch._dynamo') for one in sys.modules) > 50)"
CASES = {
    "training step without an optimizer": "",
    "an optimizer made": "torch.optim.SGD(layer.parameters(), lr=0.1);",
    "a pass counted": "exec('from torch.utils.flop_counter import FlopCounterMode\\nwith FlopCounterMode(display=False): layer(torch.zeros(1, 2))');",
}
seen = {}
for name, code in CASES.items():
    clock = f"begun = time.process_time(); {code} print(round(time.process_time() - begun, 1), file=sys.stderr);"
    ran = subprocess.run([sys.executable, "-c", HEAD + clock + TELL], capture_output=True, text=True, check=True)
    seen[name] = ran.stdout.strip()
    print(f"{name}: compiler, sympy, over 50 of its modules loaded: {seen[name]}; {ran.stderr.split()[-1]} s of processor time")
known = dict(zip(CASES, ("False False False", "True True True", "True True True"), strict=True))
raise SystemExit(0 if seen == known else f"changed: {known} was known")
PROGRAM
