"""Truncated singular value decompositions of Linear and Conv2d weights, and the two layers each becomes.

The best rank-k approximation in the Frobenius norm keeps the k largest singular values (Eckart and Young,
1936); its
squared error is the sum of the squares of the others. A convolution is written as a matrix in two ways:

- channel: rows are output channels, columns are input channels × kernel. It becomes an h×w convolution to k
  channels and a 1×1 convolution (Zhang et al., arXiv 1505.06798; Denton et al., arXiv 1404.0736).
- spatial: rows are input channels × kernel rows, columns are output channels × kernel columns. It becomes an
  h×1 and a 1×w convolution (Jaderberg et al., arXiv 1405.3866; Tai et al., arXiv 1511.06067).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from .methods import Settings

_EXACT = 512  # up to this rank the decomposition runs in double precision


@dataclass(frozen=True, slots=True)
class Form:
    """One way to write a layer's weight as a matrix, and to make two layers from its factors.

    ``build`` takes the left factor (rows × k) and the right one (k × columns).
    """

    kind: str
    matrix: torch.Tensor
    build: Callable[[torch.Tensor, torch.Tensor], nn.Sequential]

    @property
    def full_rank(self) -> int:
        return min(self.matrix.shape)

    @property
    def limit(self) -> int:
        """The largest rank that saves anything: k (rows + columns) < rows · columns."""
        rows, columns = self.matrix.shape
        return (rows * columns - 1) // (rows + columns)

    def size(self, rank: int) -> int:
        """Weights of both factors."""
        return rank * sum(self.matrix.shape)


@dataclass(frozen=True, slots=True)
class Cut:
    """A form cut at a rank: ``kept`` is the share of the squared singular values that is left."""

    form: Form
    rank: int
    kept: float
    left: torch.Tensor
    right: torch.Tensor

    def layers(self) -> nn.Sequential:
        """The two layers that take the place of one."""
        return self.form.build(self.left, self.right)


def rank_for(squares: torch.Tensor, energy: float, tolerance: float) -> int:
    """The smallest k ≥ 1 with Σ_{i≤k} σ_i² ≥ energy · Σ σ_i².

    Args:
        squares: squared singular values, falling.
        tolerance: relative rounding error of the sum; less than that is taken as zero, so that energy 1
            finds the numerical rank.
    """
    total = float(squares.sum())
    tail = total - torch.cumsum(squares, 0)
    enough = tail <= (1 - energy) * total + tolerance * total
    return int(enough.int().argmax()) + 1


def cut(form: Form, settings: Settings) -> Cut:
    """Cut one form at the rank that is asked for; both factors get the root of the singular values."""
    exact = torch.float64 if form.full_rank <= _EXACT else torch.float32
    u, s, vh = torch.linalg.svd(form.matrix.to(exact), full_matrices=False)
    squares = s.double().square()
    # The weights are no more exact than their own type, whatever the decomposition is computed in.
    rounding = 16 * torch.finfo(form.matrix.dtype).eps ** 2
    rank = rank_for(squares, 1.0 if settings.energy is None else settings.energy, rounding)
    if settings.ratio is not None:
        rank = min(rank, max(1, math.floor(settings.ratio * form.matrix.numel() / sum(form.matrix.shape))))
    root = s[:rank].sqrt()
    total = float(squares.sum())
    kept = float(squares[:rank].sum()) / total if total > 0 else 1.0
    left, right = u[:, :rank] * root, root[:, None] * vh[:rank]
    return Cut(form, rank, kept, left.to(form.matrix.dtype), right.to(form.matrix.dtype))


def forms(layer: nn.Module) -> list[Form]:
    """The ways to write a layer as a matrix; none for a layer that has no such way."""
    if type(layer) is nn.Linear:
        return [_linear(layer)]
    if type(layer) is nn.Conv2d and layer.groups == 1:
        return [_channel(layer), _spatial(layer)]
    return []


def _linear(layer: nn.Linear) -> Form:
    """W ≈ L R with W (out × in): y = L (R x) + b."""

    def build(left: torch.Tensor, right: torch.Tensor) -> nn.Sequential:
        first = nn.Linear(layer.in_features, left.shape[1], bias=False)
        second = nn.Linear(left.shape[1], layer.out_features, bias=layer.bias is not None)
        return _fill(first, right, second, left, layer)

    return Form("linear", layer.weight.detach(), build)


def _channel(layer: nn.Conv2d) -> Form:
    """W (O × I·h·w) ≈ L R: R is k filters of the old shape, L mixes them in a 1×1 convolution."""
    weight = layer.weight.detach()

    def build(left: torch.Tensor, right: torch.Tensor) -> nn.Sequential:
        rank = left.shape[1]
        first = _conv(layer, layer.in_channels, rank, rows=True, columns=True)
        second = _conv(layer, rank, layer.out_channels, bias=layer.bias is not None)
        return _fill(first, right.reshape(rank, *weight.shape[1:]), second, left[:, :, None, None], layer)

    return Form("channel", weight.flatten(1), build)


def _spatial(layer: nn.Conv2d) -> Form:
    """M (I·h × O·w) ≈ L R with M[(i, y), (o, x)] = W[o, i, y, x]: h×1, then 1×w filters."""
    outputs, inputs, height, width = layer.weight.shape
    matrix = layer.weight.detach().permute(1, 2, 0, 3).reshape(inputs * height, outputs * width)

    def build(left: torch.Tensor, right: torch.Tensor) -> nn.Sequential:
        rank = left.shape[1]
        first = _conv(layer, inputs, rank, rows=True)
        second = _conv(layer, rank, outputs, columns=True, bias=layer.bias is not None)
        down = left.T.reshape(rank, inputs, height, 1)
        across = right.reshape(rank, outputs, 1, width).transpose(0, 1)
        return _fill(first, down, second, across, layer)

    return Form("spatial", matrix, build)


def _conv(
    layer: nn.Conv2d,
    inputs: int,
    outputs: int,
    *,
    rows: bool = False,
    columns: bool = False,
    bias: bool = False,
) -> nn.Conv2d:
    """A convolution with ``layer``'s kernel, stride, padding and dilation along rows, columns or both."""

    def along(pair: tuple[int, ...], other: int) -> tuple[int, int]:
        return (pair[0] if rows else other, pair[1] if columns else other)

    padding = layer.padding if isinstance(layer.padding, str) else along(layer.padding, 0)
    return nn.Conv2d(
        inputs,
        outputs,
        along(layer.kernel_size, 1),
        stride=along(layer.stride, 1),
        padding=padding,
        dilation=along(layer.dilation, 1),
        bias=bias,
        padding_mode=layer.padding_mode,
    )


def _fill(
    first: nn.Linear | nn.Conv2d,
    first_weight: torch.Tensor,
    second: nn.Linear | nn.Conv2d,
    second_weight: torch.Tensor,
    old: nn.Linear | nn.Conv2d,
) -> nn.Sequential:
    trainable = old.weight.requires_grad
    first.weight = nn.Parameter(first_weight.contiguous(), requires_grad=trainable)
    second.weight = nn.Parameter(second_weight.contiguous(), requires_grad=trainable)
    if old.bias is not None:
        second.bias = nn.Parameter(old.bias.detach().clone(), requires_grad=old.bias.requires_grad)
    return nn.Sequential(first, second).train(old.training)
