from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_order_of_imports_is_the_way_of_the_data():
    """import-linter, on the contract in pyproject.toml."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_importing_the_package_loads_nothing_heavy():
    code = "import sys, meta_baseline; print(sorted({'torch', 'numpy', 'matplotlib', 'numba'} & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert ran.stdout.strip() == "[]"


def test_analyses_never_load_matplotlib():
    modules = "weight_analysis, activation_analysis, sparse_autoencoders, probing, behaviour"
    code = (
        f"import sys; from meta_baseline import {modules}; print('matplotlib' in sys.modules, 'numba' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert ran.stdout.strip() == "False False"


def test_no_file_of_the_package_is_too_long_to_read_in_one_sitting():
    lengths = {path.name: len(path.read_text().splitlines()) for path in (ROOT / "meta_baseline").rglob("*.py")}
    assert {name: length for name, length in lengths.items() if length > 420} == {}
