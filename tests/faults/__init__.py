"""Searches that are killed at random, and nodes that are lost.

python -m tests.faults.torture --kills 100    a real search killed at random instants, compared with an unbroken one
python -m tests.faults.streamed --kills 20    a trial that streams its images, killed, and the process that decodes
python -m tests.faults.scale                  200 trials on eight simulated nodes, ten of which are lost
"""
