"""Products of rows with one matrix of several, as mixtures of experts use them."""

from __future__ import annotations

import torch
from torch import Tensor


def grouped_mm(
    rows: Tensor, matrices: Tensor, offs: Tensor | None = None, bias: Tensor | None = None, out_dtype: object = None
) -> Tensor | None:
    """Return rows `[n, a]` times matrices `[groups, a, b]`; group i ends before row `offs[i]`, and rows after the last
    group are zero. (torch has no product in float64.) None for other forms, which torch evaluates.
    """
    if rows.ndim != 2 or matrices.ndim != 3 or offs is None or bias is not None or out_dtype is not None:
        return None
    ends = offs.tolist()
    parts = [rows[start:end] @ matrix for start, end, matrix in zip([0, *ends], ends, matrices, strict=False)]
    return torch.cat([*parts, rows.new_zeros(len(rows) - ends[-1], matrices.shape[2])])
