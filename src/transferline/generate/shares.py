"""How the events of a block are divided among runs of equal share."""

from __future__ import annotations


def shares(n: int, parts: int, block: int) -> list[int]:
    """Divide `n` events among the alternatives; odd ones go round with the block.

    >>> shares(5, 2, 0), shares(5, 2, 1)
    ([3, 2], [2, 3])
    """
    return [n // parts + ((part - block) % parts < n % parts) for part in range(parts)]
