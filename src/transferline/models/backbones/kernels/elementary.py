r"""exp and the GELU with its derivative, eight at a time, to the precision of float32."""

from __future__ import annotations

from typing import Any

import numpy as np

from transferline.compilation import compiled
from transferline.models.backbones.kernels.lanes import (
    absolute,
    add,
    divide,
    every,
    floor,
    fma,
    larger,
    multiply,
    power_of_two,
    subtract,
    where_negative,
)

f4 = np.float32


@compiled(inline="always")
def exp(x: Any) -> Any:
    """e^x for x <= 88, zero to 1e-38 below -87; a relative error of 1.2e-7.

    x = k ln 2 + r, then a polynomial for |r| <= ln 2 / 2; ln 2 in two parts keeps r exact.
    """
    x = larger(every(f4(-87.0)), x)  # this order keeps NaN
    k = floor(fma(x, every(f4(1.4426950408889634)), every(f4(0.5))))
    r = fma(k, every(f4(-0.693359375)), x)
    r = fma(k, every(f4(2.12194440e-4)), r)
    y = fma(r, every(f4(1.9875691500e-4)), every(f4(1.3981999507e-3)))
    y = fma(y, r, every(f4(8.3334519073e-3)))
    y = fma(y, r, every(f4(4.1665795894e-2)))
    y = fma(y, r, every(f4(1.6666665459e-1)))
    y = fma(y, r, every(f4(5.0000001201e-1)))
    y = fma(multiply(y, r), r, add(r, every(f4(1.0))))
    return multiply(y, power_of_two(k))


@compiled(inline="always")
def normal_share(x: Any, bell: Any) -> Any:
    r"""$\Phi(x)$ of a standard normal variable, where `bell` is $e^{-x^2/2}$.

    The tail is $e^{-x^2/2}\, P(t)$ with $t = 1 / (1 + 0.38\, |x| / \sqrt 2)$; P is a fit of degree
    9 to $\mathrm{erfcx}/2$ with a relative error of 2e-8.
    """
    t = divide(every(f4(1.0)), fma(absolute(x), every(f4(0.38 * 0.7071067811865476)), every(f4(1))))
    y = fma(t, every(f4(0.029411489217961925)), every(f4(-0.13077471266683657)))
    y = fma(y, t, every(f4(0.18113672752061116)))
    y = fma(y, t, every(f4(-0.0797705339123999)))
    y = fma(y, t, every(f4(0.1143091269711035)))
    y = fma(y, t, every(f4(0.06964498025028579)))
    y = fma(y, t, every(f4(0.10186538167604699)))
    y = fma(y, t, every(f4(0.1069729766847232)))
    y = fma(y, t, every(f4(0.10720463397411972)))
    tail = multiply(multiply(y, t), bell)
    return where_negative(x, tail, subtract(every(f4(1.0)), tail))


@compiled(inline="always")
def gelu(x: Any) -> Any:
    r"""$x\, \Phi(x)$."""
    bell = exp(multiply(multiply(x, x), every(f4(-0.5))))
    return multiply(x, normal_share(x, bell))


@compiled(inline="always")
def gelu_and_slope(x: Any) -> Any:
    r"""$x\, \Phi(x)$ and its derivative $\Phi(x) + x\, e^{-x^2/2} / \sqrt{2 \pi}$."""
    bell = exp(multiply(multiply(x, x), every(f4(-0.5))))
    share = normal_share(x, bell)
    slope = fma(multiply(x, bell), every(f4(0.3989422804014327)), share)
    return multiply(x, share), slope
