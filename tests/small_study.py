"""A real study, as small as it gets: two trained-shape networks with their step 0, and a folder of generated images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from meta_baseline.__main__ import main as console
from meta_baseline.checkpoints import write_checkpoint
from meta_baseline.models import ConvNet, architecture_of, build_network


@dataclass(frozen=True, kw_only=True)
class SmallStudy:
    """Paths of a study; ``arguments`` are those of the command line, any of them replaced."""

    folder: Path
    meta_model: Path
    baseline_model: Path
    data_dir: Path
    output_dir: Path

    def arguments(
        self,
        *,
        meta_model: Path | None = None,
        baseline_model: Path | None = None,
        data_dir: Path | None = None,
        output_dir: Path | None = None,
        problem_number: int = 1,
        analyses: tuple[str, ...] = ("--run-all",),
    ) -> list[str]:
        return [
            "--meta-model", str(meta_model or self.meta_model),
            "--baseline-model", str(baseline_model or self.baseline_model),
            "--data-dir", str(data_dir or self.data_dir),
            "--problem-number", str(problem_number),
            "--output-dir", str(output_dir or self.output_dir),
            *analyses,
        ]  # fmt: skip


def make_small_study(folder: Path, *, num_images: int) -> SmallStudy:
    """Write the study into ``folder``; the networks are untrained but for noise, which no test here minds."""
    study = make_small_models(folder)
    options = [
        "--problem-number",
        "1",
        "--num-images",
        str(num_images),
        "--identities",
        "6",
        "--output-dir",
        str(folder),
    ]
    assert console(["generate", *options]) == 0
    return study


def make_small_models(folder: Path) -> SmallStudy:
    """The study without its images."""
    initial = build_network(architecture_of("stack4", image_size=32), torch.Generator().manual_seed(0))
    for arm, seed in (("meta", 1), ("baseline", 2)):
        (folder / arm).mkdir()
        write_checkpoint(folder / arm / "initial.safetensors", initial, training={"algorithm": arm})
        write_checkpoint(
            folder / arm / "last.safetensors",
            _perturb(initial, seed),
            training={"algorithm": arm, "initial": "initial.safetensors"},
        )
    return SmallStudy(
        folder=folder,
        meta_model=folder / "meta" / "last.safetensors",
        baseline_model=folder / "baseline" / "last.safetensors",
        data_dir=folder,
        output_dir=folder / "results",
    )


def _perturb(initial: ConvNet, seed: int) -> ConvNet:
    generator = torch.Generator().manual_seed(seed)
    network = build_network(initial.architecture, torch.Generator().manual_seed(0))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.1 * parameter.std(correction=0) * torch.randn(parameter.shape, generator=generator)
    return network.eval()
