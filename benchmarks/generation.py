"""Images per second of every task and class, on one core and in memory, beside the published generators.

    python benchmarks/generation.py                        # every task, one second of processor time each
    python benchmarks/generation.py --task svrt1 regular   # some
    python benchmarks/generation.py --export               # 100 000 images of problem 1 at 64 px to disk, two processes

Images come with all their latents. The reference figures are processor time, too: the SVRT generator in C++ without
writing files, and the Python of Puebla & Bowers.
"""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
import tempfile
import time

import cv2
import numpy as np

from meta_baseline.stimuli import PROBLEMS, TASKS, Task, prepare_tasks
from meta_baseline.stimuli.generation import draw_images

# Of these problems it is known only that the C++ generator makes 2 600 to 63 000 images of them a second.
SLOWEST_OTHER, FASTEST_OTHER = 2_600, 63_000
# Class 0, class 1.
REFERENCES = {
    "svrt1": (3061, 6049),
    "svrt2": (317, 504),
    "svrt3": (65, 48),
    "svrt4": (1449, 928),
    "svrt8": (384, 330),
    "svrt11": (460, 99),
    "svrt12": (135, 209),
    "svrt13": (123, 136),
    "svrt23": (887, 717),
    "irregular": (1092, 1412),
    "regular": (1969, 2140),
    "open": (1385, 1656),
    "wider_line": (1196, 1154),
    "scrambled": (5165, 7002),
    "random_color": (1171, 1418),
    "filled": (1172, 1367),
    "lines": (5262, 6021),
    "arrows": (4869, 3036),
}
CHUNK = 256


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", nargs="+", choices=sorted(TASKS), default=list(TASKS), metavar="TASK")
    parser.add_argument("--seconds", type=float, default=1.0, help="processor time for each task and class")
    parser.add_argument("--export", action="store_true", help="measure whole commands instead")
    options = parser.parse_args()
    if options.export:
        measure_exports()
        return
    cv2.setNumThreads(1)
    ratios: dict[str, list[float]] = {"SVRT": [], "Puebla & Bowers": []}
    others: list[float] = []
    print(f"{'task':<18} {'class 0':>9} {'class 1':>9}   images/s; times the published generator")
    for name in options.task:
        task = TASKS[name]
        prepare_tasks([task])
        rates = [measure(task, label, options.seconds) for label in (0, 1)]
        line = f"{name:<18} {rates[0]:>9.0f} {rates[1]:>9.0f}"
        if name in REFERENCES:
            times = [rate / reference for rate, reference in zip(rates, REFERENCES[name])]
            ratios["SVRT" if name.startswith("svrt") else "Puebla & Bowers"] += times
            line += f"   {times[0]:.1f} and {times[1]:.1f} times"
        elif task in PROBLEMS.values():
            others += rates
            line += "   " + " and ".join(place(rate) for rate in rates)
        print(line, flush=True)
    for family, times in ratios.items():
        if times:
            mean = math.exp(np.mean(np.log(times)))
            print(f"{family}: geometric mean {mean:.1f} times, least {min(times):.1f} times, over {len(times)} sets")
    if others:
        above = [sum(rate > bound for rate in others) for bound in (SLOWEST_OTHER, FASTEST_OTHER)]
        print(
            f"SVRT sets without a figure of their own: {above[0]} of {len(others)} above {SLOWEST_OTHER}, "
            f"{above[1]} above {FASTEST_OTHER} images/s; geometric mean {math.exp(np.mean(np.log(others))):.0f}"
        )


def place(rate: float) -> str:
    """Where a rate lies among what is known of the C++ generator."""
    if rate > FASTEST_OTHER:
        return f"above {FASTEST_OTHER}"
    return f"above {SLOWEST_OTHER}" if rate > SLOWEST_OTHER else f"below {SLOWEST_OTHER}"


def measure(task: Task, label: int, seconds: float) -> float:
    """Images of one class per second of processor time."""
    draw(task, label, 0, 8)
    count, start = 0, time.process_time()
    while (spent := time.process_time() - start) < seconds:
        draw(task, label, 1000 + count, CHUNK)
        count += CHUNK
    return count / spent


def draw(task: Task, label: int, first: int, count: int) -> None:
    indices = range(2 * first + label, 2 * (first + count), 2)
    draw_images(task, np.full(count, label), np.array(indices), seed=0, split="train").latents()


def measure_exports() -> None:
    command = [sys.executable, "-m", "meta_baseline", "generate", "--problem-number", "1", "--num-images"]
    subprocess.run([*command, "2", "--output-dir", tempfile.mkdtemp()], check=True, capture_output=True)
    for form in ("npz", "png"):
        with tempfile.TemporaryDirectory() as folder:
            options = ["100000", "--image-size", "64", "--workers", "2", "--format", form, "--output-dir", folder]
            start = time.perf_counter()
            subprocess.run([*command, *options], check=True, capture_output=True)
            print(f"100 000 images of problem 1, 64 px, {form}: {time.perf_counter() - start:.1f} s")


if __name__ == "__main__":
    main()
