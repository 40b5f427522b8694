"""Vision transformers of one width, whose blocks may differ in heads and in the width of their perceptrons.

Dosovitskiy et al. An Image is Worth 16x16 Words. 2020. arXiv:2010.11929, in the sizes of Touvron et al. Training
data-efficient image transformers. 2020. arXiv:2012.12877; and, with `relative` and `pool = "mean"`, the networks of
Chen, Peng, Fu, Ling. AutoFormer. 2021. arXiv:2107.00651: a head has 64 channels whatever the width is, and keys and
values know how far apart two patches lie, by rows and by columns, clipped to 14 patches, after Shaw, Uszkoreit,
Vaswani. 2018. arXiv:1803.02155.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from automl_kd.models.features import FeatureLayer
from automl_kd.space import InputShape

HEAD_WIDTH = 64
"""Channels of a head."""

FARTHEST = 14
"""Patches; those farther apart count as so far."""


@dataclass(frozen=True)
class VitPlan:
    """`heads`, `inner`: of each block, the latter channels inside its perceptron. `patch`: pixels of a patch's side.

    `pool`: "token" gives the classifier the class token, "mean" the mean of the patches.
    """

    width: int
    heads: tuple[int, ...]
    inner: tuple[int, ...]
    patch: int = 16
    relative: bool = False
    pool: str = "token"


Grid = tuple[int, int]
"""Rows and columns of patches."""


class RelativePositions(nn.Module):
    """A vector of `HEAD_WIDTH` channels for each pair of tokens: the sum of one for rows and one for columns apart."""

    def __init__(self) -> None:
        super().__init__()
        self.vertical = nn.Parameter(torch.empty(2 * FARTHEST + 2, HEAD_WIDTH))
        self.horizontal = nn.Parameter(torch.empty(2 * FARTHEST + 2, HEAD_WIDTH))
        for table in (self.vertical, self.horizontal):
            nn.init.trunc_normal_(table, std=0.02)

    def forward(self, grid: Grid) -> Tensor:
        """(tokens, tokens, HEAD_WIDTH), queries first."""
        rows, columns = (torch.arange(side, device=self.vertical.device) for side in grid)
        down = places_apart(rows.repeat_interleave(grid[1]))
        return self.vertical[down] + self.horizontal[places_apart(columns.repeat(grid[0]))]


def places_apart(places: Tensor) -> Tensor:
    """Rows of a table for each pair of tokens, of which the first is the class token: 0 is to or from that."""
    between = (places[None, :] - places[:, None]).clamp(-FARTHEST, FARTHEST) + FARTHEST + 1
    return F.pad(between, (1, 0, 1, 0))


class StackedLinear(nn.Linear):
    """Queries, keys and values in one: three layers below each other, each of as many heads."""

    row_parts = 3


class SelfAttention(nn.Module):
    def __init__(self, width: int, heads: int, *, relative: bool) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = StackedLinear(width, 3 * HEAD_WIDTH * heads)
        self.projection = nn.Linear(HEAD_WIDTH * heads, width)
        self.of_keys = RelativePositions() if relative else None
        self.of_values = RelativePositions() if relative else None

    def forward(self, x: Tensor, grid: Grid) -> Tensor:
        batch, tokens, _ = x.shape
        queries, keys, values = self.qkv(x).view(batch, tokens, 3, self.heads, HEAD_WIDTH).permute(2, 0, 3, 1, 4)
        # in products of matrices, which every kind of differentiation knows
        scores = queries @ keys.transpose(-2, -1)
        if self.of_keys is not None:
            scores = scores + apart(queries, self.of_keys(grid).transpose(1, 2))
        weights = (scores * HEAD_WIDTH**-0.5).softmax(dim=-1)
        found = weights @ values
        if self.of_values is not None:
            found = found + apart(weights, self.of_values(grid))
        made: Tensor = self.projection(found.transpose(1, 2).reshape(batch, tokens, HEAD_WIDTH * self.heads))
        return made


def apart(rows: Tensor, tables: Tensor) -> Tensor:
    """(batch, heads, tokens, a) and (tokens, a, b) to (batch, heads, tokens, b): each token has a matrix of its own."""
    batch, heads, tokens, _ = rows.shape
    flat = rows.permute(2, 0, 1, 3).reshape(tokens, batch * heads, -1)
    return (flat @ tables).view(tokens, batch, heads, -1).permute(1, 2, 0, 3)


class TransformerBlock(nn.Module):
    def __init__(self, plan: VitPlan, place: int) -> None:
        super().__init__()
        width, inner = plan.width, plan.inner[place]
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attention = SelfAttention(width, plan.heads[place], relative=plan.relative)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = nn.Sequential(nn.Linear(width, inner), nn.GELU(), nn.Linear(inner, width))

    def forward(self, x: Tensor, grid: Grid) -> Tensor:
        x = x + self.attention(self.norm1(x), grid)
        made: Tensor = x + self.mlp(self.norm2(x))
        return made


class AsMap(nn.Module):
    """Tokens (batch, 1 + patches, channels) as a map (batch, channels, height, width) without the class token."""

    def forward(self, tokens: Tensor, grid: Grid) -> Tensor:
        return tokens[:, 1:].transpose(1, 2).view(tokens.shape[0], -1, *grid)


class VisionTransformer(nn.Module):
    """The network of a plan. Images whose sides are no multiples of a patch get a black rim below and on the right; for
    those of another size than that of `shape`, as in training at `recipe.train_resolution`, positions are interpolated.

    Feature layers `stage1` to `stage4` are maps after each quarter of the blocks, all at the stride of a patch.
    Class token and positions have timm's names, so that a warm start finds them.
    """

    def __init__(self, shape: InputShape, plan: VitPlan) -> None:
        super().__init__()
        self.patch, self.pool, width = plan.patch, plan.pool, plan.width
        self.grid = (-(-shape.height // plan.patch), -(-shape.width // plan.patch))
        self.stem = nn.Conv2d(shape.channels, width, plan.patch, plan.patch)
        self.cls_token = nn.Parameter(torch.empty(1, 1, width))
        self.pos_embed = nn.Parameter(torch.empty(1, self.grid[0] * self.grid[1] + 1, width))
        self.blocks = nn.ModuleList(TransformerBlock(plan, place) for place in range(len(plan.heads)))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.classifier = nn.Linear(width, shape.classes)
        self.maps, self.last_map = nn.ModuleDict(), AsMap()
        self.feature_layers = {"stem": FeatureLayer("stem")}
        for stage, block in enumerate(quarters(len(plan.heads)), start=1):
            self.maps[str(block)] = AsMap()
            names = (f"stage{stage}", f"stage{stage}.pre")
            self.feature_layers |= dict.fromkeys(names, FeatureLayer(f"maps.{block}"))
        self.feature_layers |= {"pre_pool": FeatureLayer("last_map"), "pooled": FeatureLayer("classifier", "input")}
        linear = [one for one in self.modules() if isinstance(one, nn.Linear)]
        for value in (self.cls_token, self.pos_embed, *(one.weight for one in linear)):
            nn.init.trunc_normal_(value, std=0.02)
        for one in linear:
            nn.init.zeros_(one.bias)

    def forward(self, x: Tensor) -> Tensor:
        down, right = -x.shape[2] % self.patch, -x.shape[3] % self.patch
        x = F.pad(x, (0, right, 0, down)) if down or right else x
        patches = self.stem(x)
        grid = (patches.shape[2], patches.shape[3])
        patches = patches.flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(x.shape[0], -1, -1), patches], dim=1) + self.positions(grid)
        for number, block in enumerate(self.blocks, start=1):
            x = block(x, grid)
            if str(number) in self.maps:
                self.maps[str(number)](x, grid)  # for whoever listens
        x = self.norm(x)
        last = self.last_map(x, grid)
        logits: Tensor = self.classifier(x[:, 0] if self.pool == "token" else last.mean((2, 3)))
        return logits

    def positions(self, grid: Grid) -> Tensor:
        if grid == self.grid:
            return self.pos_embed
        token, width = self.pos_embed[:, :1], self.pos_embed.shape[2]
        table = self.pos_embed[:, 1:].transpose(1, 2).view(1, width, *self.grid)
        table = F.interpolate(table, grid, mode="bilinear", align_corners=False)
        return torch.cat([token, table.flatten(2).transpose(1, 2)], dim=1)


def quarters(depth: int) -> list[int]:
    """After which blocks, counted from 1, the four stages end."""
    return [max(1, round(depth * quarter / 4)) for quarter in range(1, 5)]


def vit_cost(shape: InputShape, plan: VitPlan) -> tuple[int, int]:
    """Parameters, and multiply-adds for one image, of the `VisionTransformer` of this plan, without building it."""
    patches = -(-shape.height // plan.patch) * -(-shape.width // plan.patch)
    tokens, width = patches + 1, plan.width
    stem = shape.channels * plan.patch**2 * width
    params = stem + width + (tokens + 1) * width + 2 * width + (width + 1) * shape.classes
    macs = stem * patches + width * shape.classes
    for heads, inner in zip(plan.heads, plan.inner, strict=True):
        through = HEAD_WIDTH * heads
        linear = 4 * width * through + 2 * width * inner
        params += linear + 3 * through + width + inner + width + 4 * width
        macs += linear * tokens + 2 * tokens**2 * through * (1 + plan.relative)
        params += plan.relative * 4 * (2 * FARTHEST + 2) * HEAD_WIDTH
    return params, macs
