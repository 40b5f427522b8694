"""Augmentation of batches of bytes, on the device where they lie: what an epoch makes of the training images.

Each image's draws are counter words of (seed, epoch, its index, which of its views), and all arithmetic on pixels but
that of hues is in whole numbers. So a view depends neither on the batch that it is in nor on the device.
"""

from __future__ import annotations
