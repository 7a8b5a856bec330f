"""Whether bf16 forward passes pay on this machine."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal

import torch

from meta_baseline.inner_loop import Precision

_BF16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}


def resolve_precision(requested: Literal["auto", "fp32", "bf16"], device: str = "cpu") -> Precision:
    """ "auto" is bf16 where the arithmetic units know it and it is therefore faster, else fp32."""
    if requested != "auto":
        return requested
    fast = torch.cuda.is_bf16_supported() if device.startswith("cuda") else cpu_has_bf16()
    return "bf16" if fast else "fp32"


@cache
def cpu_has_bf16() -> bool:
    """True when the processor lists bf16 instructions; False where that cannot be told (no /proc)."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return False
    flags = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return not _BF16_FLAGS.isdisjoint(flags.split())
