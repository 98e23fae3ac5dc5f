r"""exp and the GELU with its derivative, eight at a time, to the precision of float32."""

from __future__ import annotations

from typing import Any

import numpy as np

from transferline.compilation import compiled
from transferline.models.backbones.kernels.lanes import (
    add,
    divide,
    every,
    floor,
    fma,
    larger,
    multiply,
    power_of_two,
    smaller,
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
def normal_share(x: Any) -> Any:
    r"""$\Phi(x)$ of a standard normal variable, to 1.6e-7.

    $1/2 + x\, P(x^2) / Q(x^2)$ for |x| <= 5.4, beyond that 0 or 1; P and Q are a fit of degree 5
    with an error of 6e-9, the rest is rounding.
    """
    x = smaller(every(f4(5.4)), larger(every(f4(-5.4)), x))  # this order keeps NaN
    t = multiply(x, x)
    p = fma(t, every(f4(2.3386681910592017e-08)), every(f4(6.360008788137486e-06)))
    p = fma(p, t, every(f4(0.00016432153935198418)))
    p = fma(p, t, every(f4(0.0046508505043400625)))
    p = fma(p, t, every(f4(0.03337222174424136)))
    p = fma(p, t, every(f4(0.39894224538856826)))
    q = fma(t, every(f4(1.2165886146476733e-06)), every(f4(7.240007626959933e-05)))
    q = fma(q, t, every(f4(0.0018589808896692897)))
    q = fma(q, t, every(f4(0.028378682612509146)))
    q = fma(q, t, every(f4(0.25031784382500866)))
    q = fma(q, t, every(f4(1.0)))
    share = fma(x, divide(p, q), every(f4(0.5)))
    return where_negative(add(x, every(f4(5.3999))), every(f4(0.0)), share)


@compiled(inline="always")
def gelu(x: Any) -> Any:
    r"""$x\, \Phi(x)$."""
    return multiply(x, normal_share(x))


@compiled(inline="always")
def gelu_and_slope(x: Any) -> Any:
    r"""$x\, \Phi(x)$ and its derivative $\Phi(x) + x\, e^{-x^2/2} / \sqrt{2 \pi}$."""
    share = normal_share(x)
    bell = exp(multiply(multiply(x, x), every(f4(-0.5))))
    slope = fma(multiply(x, bell), every(f4(0.3989422804014327)), share)
    return multiply(x, share), slope
