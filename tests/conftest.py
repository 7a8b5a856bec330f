"""Shared by all tests: modules beside this file can be imported by name; one thread, so that figures repeat."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))


torch.set_num_threads(1)  # here rather than in a fixture: fixtures of modules and sessions come before those of tests


@pytest.fixture(autouse=True)
def _one_thread():
    """Numbers do not depend on how many cores the machine has, nor on a test that ran before."""
    torch.set_num_threads(1)
