"""How fast stimuli are read, and whether memory grows with their number: PNG folders, episodes, TFRecords, archives.

    python benchmarks/reading.py                 # 1 000 and 10 000 images of 128 px in RGB; five minutes

"read" is ``read_stimuli``: every image decoded once, checked, hashed and, where no latents come with it, measured.
"batches" is one pass of ``build_loader`` over all of them, as one network sees them. Each measurement is a process of
its own; rates are the best of ``--repeats``, because other work slows them down and nothing speeds them up. Memory is
the largest peak above that of a process which has imported the package, and counts the processes it starts.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np

from meta_baseline.datasets import build_loader, read_stimuli
from meta_baseline.stimuli import generate_dataset
from meta_baseline.stimuli.png import encode_png

FORMATS = ("png with latents", "png", "episodes", "episodes, gzip", "archive")
SUPPORT, QUERY = 4, 4


def write_formats(folder: Path, num_images: int) -> None:
    """The same images of one task in every format."""
    images, labels, latents = generate_dataset("irregular", num_images=num_images, seed=0, split="test", workers=2)
    colour = np.repeat(images[..., np.newaxis], 3, axis=3) if images.ndim == 3 else images
    for name in ("png with latents", "png"):
        where = folder / name / "results_irregular" / "test"
        where.mkdir(parents=True)
        names = [f"sample_{label}_{index:04d}.png" for index, label in enumerate(labels)]
        for file, image in zip(names, images):
            (where / file).write_bytes(encode_png(image))
        if name != "png":
            latents.assign(file=names).to_csv(where / "latents.csv", index=False)
    episodes = num_images // (SUPPORT + QUERY)
    used = episodes * (SUPPORT + QUERY)
    grouped = colour[:used].reshape(episodes, SUPPORT + QUERY, *colour.shape[1:])
    classes = labels[:used].reshape(episodes, -1).astype(np.float32)
    for name, compression in (("episodes", None), ("episodes, gzip", "gzip")):
        (folder / name).mkdir()
        with h5py.File(folder / name / f"irregular_support{SUPPORT}_test.h5", "w") as file:
            for part, which in (("support", slice(None, SUPPORT)), ("query", slice(SUPPORT, None))):
                file.create_dataset(f"{part}_images", data=grouped[:, which], compression=compression)
                file.create_dataset(f"{part}_labels", data=classes[:, which])
    (folder / "archive").mkdir()
    np.savez(folder / "archive" / "irregular_test.npz", images=images, labels=labels)


def measure(folder: Path, num_workers: int) -> dict[str, float]:
    """Images per second and peak memory of reading one folder once, and of one pass over it."""
    before = _peak()
    started = time.perf_counter()
    stimuli = read_stimuli(folder)
    read_seconds = time.perf_counter() - started
    after_reading = _peak()
    started = time.perf_counter()
    num_seen = sum(len(batch[1]) for batch in build_loader(stimuli, batch_size=32, num_workers=num_workers))
    return {
        "read": len(stimuli.labels) / read_seconds,
        "batches": num_seen / (time.perf_counter() - started),
        "read_mib": after_reading - before,
        "mib": _peak() - before,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num-images", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--num-workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure, options.num_workers)))
        return
    print(
        f"{len(os.sched_getaffinity(0))} cores, {options.num_workers} loading processes, best of {options.repeats}, "
        f"load {os.getloadavg()[0]:.1f}"
    )
    print(f"{'format':18} {'images':>7} {'read/s':>8} {'batches/s':>10} {'MiB read':>9} {'MiB in all':>11}")
    for num_images in options.num_images:
        with tempfile.TemporaryDirectory() as folder:
            write_formats(Path(folder), num_images)
            for name in FORMATS:
                command = [sys.executable, __file__, "--measure", str(Path(folder) / name)]
                command += ["--num-workers", str(options.num_workers)]
                runs = [_measure_apart(command) for _ in range(options.repeats)]
                found = {key: max(run[key] for run in runs) for key in runs[0]}
                print(
                    f"{name:18} {num_images:7} {found['read']:8.0f} {found['batches']:10.0f} "
                    f"{found['read_mib']:9.0f} {found['mib']:11.0f}",
                    flush=True,
                )


def _measure_apart(command: list[str]) -> dict[str, float]:
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _peak() -> float:
    """Peak memory of this process and of those it has started that still run, in MiB."""
    total = 0.0
    for status in Path("/proc").glob("[0-9]*/status"):
        with contextlib.suppress(OSError):
            fields = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
            if str(os.getpid()) in (fields["Pid"].strip(), fields["PPid"].strip()):
                total += int(fields["VmHWM"].split()[0]) / 1024
    return total


if __name__ == "__main__":
    main()
