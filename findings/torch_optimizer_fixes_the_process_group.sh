#!/usr/bin/env bash
# The first optimizer made in a process group decides for which processes torch.distributed.nn sums, also in later groups.
#
# Versions: torch 2.14.1, gloo.
# Expected: after destroy_process_group and a second init_process_group, torch.distributed.nn.functional.all_reduce(x) sums over
# the second group, as torch.distributed.all_reduce(x) does.
# Seen: these functions hold the group that was open when their module was imported, as the default of an argument. torch.optim.SGD
# imports the module (with the compiler), and so do DistributedDataParallel and torch.compile. Of two processes that were alone in
# their first group each gets 1 for a sum of ones in the second, without an error; with group= named, or where the module was
# imported before the first group, both get 2. The destroyed group stays alive as well, with its threads.
# So a process that trains alone first and in a group afterwards gets losses and gradients that nobody summed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
export OMP_NUM_THREADS=1
python3 -m venv environment
environment/bin/pip install --quiet --no-compile torch==2.14.1 numpy==2.4.6
cat > program.py <<'PROGRAM'
import multiprocessing
import os
import sys
import tempfile
import warnings


def work(rank, folder, early, answers):
    warnings.simplefilter("ignore")
    import torch
    import torch.distributed as dist

    if early:
        import torch.distributed.nn  # noqa: F401
    dist.init_process_group("gloo", init_method=f"file://{folder}/alone-{rank}", rank=0, world_size=1)
    before = "torch.distributed.nn" in sys.modules
    torch.optim.SGD(torch.nn.Linear(2, 2).parameters(), lr=0.1)
    after = "torch.distributed.nn" in sys.modules
    dist.destroy_process_group()
    dist.init_process_group("gloo", init_method=f"file://{folder}/both", rank=rank, world_size=2)
    from torch.distributed.nn.functional import all_reduce

    by_default = all_reduce(torch.ones(1)).item()
    named = all_reduce(torch.ones(1), group=dist.group.WORLD).item()
    dist.all_reduce(plain := torch.ones(1))
    dist.barrier()
    dist.destroy_process_group()
    answers.put((before, after, by_default, named, plain.item()))


if __name__ == "__main__":
    context, seen = multiprocessing.get_context("spawn"), {}
    for early in (False, True):
        answers, folder = context.Queue(), tempfile.mkdtemp(dir=os.getcwd())
        processes = [context.Process(target=work, args=(rank, folder, early, answers)) for rank in range(2)]
        for process in processes:
            process.start()
        seen[early] = sorted(answers.get(timeout=600) for _ in processes)
        for process in processes:
            process.join()
        print(f"module imported before the first group: {early}")
        print("  (module there before SGD, after SGD, sum by default, with group=, by torch.distributed):", seen[early])
    known = {False: 2 * [(False, True, 1.0, 2.0, 2.0)], True: 2 * [(True, True, 2.0, 2.0, 2.0)]}
    raise SystemExit(0 if seen == known else f"changed: {known} was known")
PROGRAM
environment/bin/python program.py
