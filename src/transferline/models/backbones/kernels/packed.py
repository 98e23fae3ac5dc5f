"""Weights of linear layers in the order in which products read them, without gradient.

They are made anew at every call: optimisers may change a weight without torch counting it as a
change (the fused ones do), so that nothing tells whether what was kept is still true. It costs a
hundredth of a forward pass.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from torch import Tensor, nn

from transferline.compilation import compiled
from transferline.models.backbones.kernels.products import PANEL, Array


class Packed(NamedTuple):
    """A linear layer.

    Attributes:
        panels: `W[c, k]`, in panels of 16 columns c, see `products.pack`.
        bias: one per column.
    """

    panels: Array
    bias: Array

    @classmethod
    def of(cls, weight: Tensor, bias: Tensor, norm: nn.LayerNorm | None = None) -> Packed:
        """Pack `weight [o, i]`; with scale and offset of the norm before the layer, if given."""
        outputs, width = weight.shape
        panels = np.empty(-(-outputs // PANEL) * PANEL * width, np.float32)
        offsets = np.empty(outputs, np.float32)
        if norm is None:
            scale, shift = np.ones(width, np.float32), np.zeros(width, np.float32)
        else:
            scale, shift = flat(norm.weight), flat(norm.bias)
        _fold(flat(weight), flat(bias), scale, shift, panels, offsets)
        return cls(panels, offsets)


def flat(tensor: Tensor) -> Array:
    """View a contiguous float32 tensor as the flat array that kernels take."""
    array: Array = tensor.detach().view(-1).numpy()
    return array


@compiled(nogil=True, error_model="numpy")
def _fold(  # noqa: PLR0917  numba takes no keyword-only arguments
    weight: Array, bias: Array, scale: Array, shift: Array, panels: Array, offsets: Array
) -> Any:
    """W diag(scale) in panels, and W shift + bias."""
    width = len(scale)
    for c in range(len(bias)):
        total = bias[c]
        first = c // PANEL * PANEL * width + c % PANEL
        for k in range(width):
            w = weight[c * width + k]
            panels[first + k * PANEL] = w * scale[k]
            total += w * shift[k]
        offsets[c] = total
