"""What this installation is and can do: the block that every bug report needs."""

from __future__ import annotations

from transferline.doctor.examination import examine

__all__ = ["examine"]
