"""What training uses of the machine: device, precision, threads, allocator."""

from __future__ import annotations

import os

from transferline.doctor.look import Looks, TroubleError
from transferline.doctor.machine import usable_cores
from transferline.runtime import keep_freed_memory

_VARIABLES = (
    *(f"OMP_{name}" for name in ("NUM_THREADS", "WAIT_POLICY", "PROC_BIND", "PLACES")),
    *(f"{name}_NUM_THREADS" for name in ("MKL", "OPENBLAS", "NUMBA")),
    *("GOMP_CPU_AFFINITY", "KMP_AFFINITY", "KMP_DUPLICATE_LIB_OK", "KMP_BLOCKTIME"),
    *("CUDA_VISIBLE_DEVICES", "NUMBA_CACHE_DIR", "NUMBA_DISABLE_JIT", "PYTHIA8DATA"),
    *("PYTHONPATH", "PYTHONWARNINGS", "PYTHONUTF8", "PYTHONIOENCODING", "LD_PRELOAD"),
    *("TRANSFERLINE_CACHE", "WORLD_SIZE", "RANK", "MALLOC_ARENA_MAX"),
)


def looks() -> Looks:
    """Return the looks of this section."""
    return {
        "training device": _device,
        "bfloat16": _bfloat16,
        "instructions": _instructions,
        "torch threads": _threads,
        "thread pools": _pools,
        "allocator": _allocator,
        "variables": _variables,
    }


def _device() -> str:
    import torch  # noqa: PLC0415  it may be what is broken

    from transferline.learning.optim import Optim  # noqa: PLC0415

    device = Optim(steps=1).torch_device()
    if device.type == "cpu":
        return "cpu"
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return f"{device.type}: {', '.join(names)}; CUDA {torch.version.cuda}"


def _bfloat16() -> str:
    from transferline.learning.optim import Optim  # noqa: PLC0415

    native = Optim(steps=1).bfloat16(Optim(steps=1).torch_device())
    return "native, used by default" if native else "not native: float32 is used"


def _instructions() -> str:
    import torch  # noqa: PLC0415

    from transferline.compilation import has_fused_multiply_add  # noqa: PLC0415

    known = str(torch.backends.cpu.get_cpu_capability())
    return known if has_fused_multiply_add() else f"{known}; no FMA: part is slower by far"


def _threads() -> str:
    import torch  # noqa: PLC0415

    threads, cores = torch.get_num_threads(), usable_cores()
    if threads > max(cores, 1):
        raise TroubleError(
            f"{threads} on {cores:g} usable cores stand in each other's way: "
            f"export OMP_NUM_THREADS={max(int(cores), 1)}"
        )
    return str(threads)


def _pools() -> str:
    """Libraries with threads of their own; two OpenMP runtimes in one process may fight."""
    import numpy  # noqa: PLC0415, F401  its pool is listed once it is loaded
    import torch  # noqa: PLC0415, F401
    from threadpoolctl import threadpool_info  # noqa: PLC0415

    rows = [
        f"{row['prefix']} {row.get('version') or ''}".strip() + f" ({row['num_threads']})"
        for row in threadpool_info()
    ]
    return ", ".join(rows) or "none"


def _allocator() -> str:
    return "keeps freed memory" if keep_freed_memory() else "default of the system"


def _variables() -> str:
    found = [f"{name}={os.environ[name]}" for name in _VARIABLES if name in os.environ]
    return ", ".join(found) or "none set"
