"""tmp"""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
import torch
from torch import Tensor

from automl_kd.data.images.decode import center_square
from automl_kd.data.images.pixels import decode_image


class ViewReader:
    def __init__(self, encoded: Any, index: Any, plan: Any, streaming: Any, *, pinned: bool) -> None:
        self.encoded, self.plan, self.max_value = encoded, plan, streaming.max_value

    def follow(self, **_: Any) -> None:
        pass

    def read(self, rows: Tensor, *, seed: int, epoch: int) -> Tensor:
        out = []
        for row in rows.tolist():
            picture = decode_image(BytesIO(self.encoded.read(row)), self.encoded.called(row), self.max_value)
            picture = center_square(picture, self.plan.fit) if self.plan.fit.size else picture
            out.append(torch.from_numpy(np.asarray(picture).transpose(2, 0, 1).copy()))
        return torch.stack(out) if out else torch.empty(0, 3, *self.plan.size, dtype=torch.uint8)
