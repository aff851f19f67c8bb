"""A Triton kernel for the 3x3 convolution of kept pixels; needs the optional package triton, and runs on CUDA.

Written out in torch, that convolution first copies the nine neighbours of every kept pixel. The kernel reads them where
they are: one pass over the rows, the neighbours from the caches. It also runs on CPU tensors, slowly, in Triton's
interpreter (TRITON_INTERPRET=1 before the import), which is how it is tested.
"""

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

PIXELS_PER_PROGRAM = 64
# Sides of a matrix product on tensor cores.
SMALLEST, LARGEST = 16, 64


@triton.jit
def _conv_3x3(
    rows,  # (P, groups * K)
    outside,  # (groups * K,)
    numbers,  # (frames * (H + 2) * across,): the row of a place, P where it is dropped, P + 1 outside the picture
    centres,  # (P,): the places of the rows
    weight,  # (groups * N, K, 3, 3), by its strides
    bias,  # (groups * N,)
    out,  # (P, groups * N)
    count,  # P
    across,
    stride_n,
    stride_k,
    stride_y,
    stride_x,
    groups: tl.constexpr,
    K: tl.constexpr,
    N: tl.constexpr,
    has_bias: tl.constexpr,
    relu: tl.constexpr,
    block_p: tl.constexpr,
    block_k: tl.constexpr,
    block_n: tl.constexpr,
) -> None:
    """One block of pixels by one block of outputs of one group.

    Without annotations, which Triton's compiler would evaluate, but for those that it knows.
    """
    group = tl.program_id(1)
    p = tl.program_id(0) * block_p + tl.arange(0, block_p)
    n = tl.program_id(2) * block_n + tl.arange(0, block_n)
    centre = tl.load(centres + p, mask=p < count, other=0)
    sums = tl.zeros((block_p, block_n), dtype=tl.float32)
    for tap in range(9):
        y, x = tap // 3, tap % 3
        number = tl.load(numbers + centre + (y - 1) * across + x - 1, mask=p < count, other=0).to(tl.int64)
        for start in range(0, K, block_k):
            k = start + tl.arange(0, block_k)
            inside = (number < count)[:, None] & (k < K)[None, :]
            part = tl.load(rows + number[:, None] * (groups * K) + (group * K + k)[None, :], mask=inside, other=0.0)
            constant = tl.load(outside + group * K + k, mask=k < K, other=0.0)
            part += tl.where((number == count)[:, None], constant[None, :], 0.0).to(part.dtype)
            places = weight + (group * N + n)[None, :] * stride_n + k[:, None] * stride_k + y * stride_y + x * stride_x
            taps = tl.load(places, mask=(k < K)[:, None] & (n < N)[None, :], other=0.0)
            sums += tl.dot(part, taps, input_precision="ieee")
    if has_bias:
        sums += tl.load(bias + group * N + n, mask=n < N, other=0.0).to(tl.float32)[None, :]
    if relu:
        sums = tl.maximum(sums, 0.0)
    where = out + p.to(tl.int64)[:, None] * (groups * N) + (group * N + n)[None, :]
    tl.store(where, sums.to(out.dtype.element_ty), mask=(p < count)[:, None] & (n < N)[None, :])


@torch.library.custom_op("afnet::conv_3x3_of_cells", mutates_args=())
def conv_3x3(
    rows: Tensor,
    outside: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    centres: Tensor,
    maps: list[int],
    groups: int,
    relu: bool,
) -> Tensor:
    """As afnet.spatial.gathered_3x3, which says what is what; an operator of torch, so that counters see it.

    Args:
        weight: (D, M / groups, 3, 3), of any strides.
        bias: (D,).
        centres: (P,) int64, the places of the rows in maps with a border of one.
    """
    (frames, height, width), count = maps, len(rows)
    outputs, k = weight.shape[:2]
    n = outputs // groups
    out = rows.new_empty(count, outputs)
    if not count:
        return out
    numbers = torch.full((frames, height + 2, width + 2), count + 1, dtype=torch.int32, device=rows.device)
    numbers[:, 1:-1, 1:-1] = count
    numbers.view(-1)[centres] = torch.arange(count, dtype=torch.int32, device=rows.device)
    block_n = _block(n)
    with torch.cuda.device_of(rows):  # launches go to the current device
        _conv_3x3[(triton.cdiv(count, PIXELS_PER_PROGRAM), groups, triton.cdiv(n, block_n))](
            rows.contiguous(),
            outside.contiguous(),
            numbers,
            centres,
            weight,
            rows if bias is None else bias,
            out,
            count,
            width + 2,
            *weight.stride(),
            groups=groups,
            K=k,
            N=n,
            has_bias=bias is not None,
            relu=relu,
            block_p=PIXELS_PER_PROGRAM,
            block_k=_block(k),
            block_n=block_n,
        )
    return out


@conv_3x3.register_fake
def _(rows: Tensor, outside: Tensor, weight: Tensor, *others: object) -> Tensor:
    return rows.new_empty(rows.shape[0], weight.shape[0])


@register_flop_formula(torch.ops.afnet.conv_3x3_of_cells)
def _(rows: torch.Size, outside: torch.Size, weight: torch.Size, *others: object, **named: object) -> int:
    """Two operations for each weight and pixel."""
    return 2 * rows[0] * math.prod(weight)


def _block(channels: int) -> int:
    return min(max(triton.next_power_of_2(channels), SMALLEST), LARGEST)
