"""A report with made-up numbers, as full as a real one: to test the page, and to look at it.

``python tests/report_example.py report.html`` writes it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from meta_baseline.figures.style import BASELINE, COLOURS, CONTROL, INK, META, UNTRAINED, new_figure, styled
from meta_baseline.report.content import ReportContent, ReportFigure, ReportSection, ReportTable
from meta_baseline.report.page import render_report
from meta_baseline.report.svg import figure_to_svg
from meta_baseline.results import Check, Finding, Provenance

LAYERS = ("conv1", "conv2", "conv3", "conv4", "conv5", "fc1")


@styled
def draw_lines(rng: np.random.Generator, *, label: str, top: float = 1.0) -> Figure:
    figure = new_figure(7.2, 3.3)
    axes = figure.subplots()
    steps = np.arange(len(LAYERS))
    axes.axhspan(0.47, 0.53, color=CONTROL, alpha=0.25, lw=0, label="control task, 95 % interval")
    for name, rise in (("meta", 0.4), ("baseline", 0.3), ("untrained", 0.1)):
        values = 0.52 + rise * (1 - np.exp(-0.6 * steps)) + rng.normal(0, 0.01, len(steps))
        axes.fill_between(steps, values - 0.025, values + 0.025, color=COLOURS[name], alpha=0.18, lw=0)
        axes.plot(steps, values, "o-", color=COLOURS[name], label=name)
    axes.set_xticks(steps, LAYERS)
    axes.set_ylim(0.4, top)
    axes.set_xlabel("layer")
    axes.set_ylabel(label)
    figure.legend(loc="outside right upper")
    return figure


@styled
def draw_bars(rng: np.random.Generator, *, label: str) -> Figure:
    figure = new_figure(7.2, 3.2)
    for panel, title in zip(figure.subplots(1, 2, sharey=True), ("trained tasks", "held-out tasks"), strict=True):
        for place, name in enumerate(("meta", "baseline", "untrained")):
            values = rng.uniform(0.55, 0.95, 2)
            panel.bar(np.arange(2) + 0.27 * place, values, 0.25, color=COLOURS[name], label=name)
            panel.errorbar(np.arange(2) + 0.27 * place, values, 0.03, fmt="none", ecolor=INK, elinewidth=1)
        panel.axhline(0.5, color=CONTROL, ls="--", lw=1)
        panel.set_xticks([0.27, 1.27], ["before\nadaptation", "after\n5 steps"])
        panel.set_title(title)
        panel.set_ylim(0, 1.12)
    figure.axes[0].set_ylabel(label)
    figure.axes[1].legend(loc="upper right", ncols=3)
    return figure


@styled
def draw_scatter(rng: np.random.Generator, *, num_points: int = 2000) -> Figure:
    figure = new_figure(7.2, 3.5)
    panels = figure.subplots(1, 2, sharex=True, sharey=True)
    for panel, name in zip(panels, ("meta", "baseline"), strict=True):
        size = rng.uniform(10, 60, num_points)
        x = rng.normal(0, 1, num_points) + size / 40
        dots = panel.scatter(x, rng.normal(0, 0.7, num_points), c=size, s=4, cmap="viridis", lw=0, rasterized=True)
        panel.set_title(name)
        panel.set_xlabel("component 1 (31 % of variance)")
    panels[0].set_ylabel("component 2 (12 %)")
    figure.colorbar(dots, ax=panels, label="distance (px)")
    return figure


@styled
def draw_histograms(rng: np.random.Generator) -> Figure:
    figure = new_figure(7.2, 4.4)
    for axes, layer in zip(figure.subplots(2, 3).flat, LAYERS, strict=True):
        for name, colour in (("meta", META), ("baseline", BASELINE), ("step 0", UNTRAINED)):
            weights = rng.standard_t(4, 4000) * rng.uniform(0.03, 0.06)
            axes.hist(weights, np.linspace(-0.3, 0.3, 61), histtype="step", color=colour, density=True, label=name)
        axes.set_title(layer)
        axes.set_yscale("log")
    figure.axes[0].legend(loc="upper left")
    figure.supxlabel("weight", fontsize=10)
    figure.supylabel("density", fontsize=10)
    return figure


@styled
def draw_heat_map(rng: np.random.Generator) -> Figure:
    figure = new_figure(7.2, 3.4)
    panels = figure.subplots(1, 2)
    for panel, title in zip(panels, ("meta against baseline", "untrained pair (control)"), strict=True):
        values = np.clip(np.eye(6) * 0.6 + rng.uniform(0, 0.35, (6, 6)), 0, 1)
        image = panel.imshow(values, vmin=0, vmax=1, cmap="cividis")
        for (row, column), value in np.ndenumerate(values):
            colour = "white" if value < 0.55 else "black"
            panel.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=7, color=colour)
        panel.set_xticks(range(6), LAYERS, rotation=45)
        panel.set_yticks(range(6), LAYERS)
        panel.set_title(title)
    figure.colorbar(image, ax=panels, label="debiased CKA")
    return figure


@styled
def draw_patches(rng: np.random.Generator) -> Figure:
    figure = new_figure(7.2, 3.0)
    for axes in figure.subplots(4, 10).flat:
        patch = np.full((24, 24), 255, dtype=np.uint8)
        row, column = rng.integers(3, 14, 2)
        patch[row : row + 8, column] = patch[row, column : column + 8] = 0
        axes.imshow(patch, cmap="gray", vmin=0, vmax=255)
        axes.set_xticks([])
        axes.set_yticks([])
        for side in axes.spines.values():
            side.set_visible(False)
    for axes, atom in zip(figure.axes[::10], (12, 87, 203, 311), strict=True):
        axes.set_ylabel(f"atom {atom}", rotation=0, ha="right", va="center", fontsize=9)
    return figure


@styled
def draw_small(rng: np.random.Generator) -> Figure:
    figure = new_figure(3.6, 2.9)
    axes = figure.subplots()
    for name, colour in (("meta", META), ("baseline", BASELINE)):
        axes.plot([2, 4, 8, 16, 32], np.sort(rng.uniform(0.4, 0.98, 5)), "o-", color=colour, label=name)
    axes.set_xscale("log", base=2)
    axes.set_xlabel("active atoms $L_0$")
    axes.set_ylabel("variance explained")
    axes.legend()
    return figure


def _figure(slug: str, title: str, how: str, svg: str) -> ReportFigure:
    return ReportFigure(slug=slug, title=title, how_to_read=how, svg=svg)


def _draw_all(rng: np.random.Generator) -> dict[str, str]:
    drawings = {
        "accuracy": draw_bars(rng, label="accuracy"),
        "lines": draw_lines(rng, label="balanced accuracy"),
        "distance": draw_lines(rng, label="relative distance"),
        "histograms": draw_histograms(rng),
        "heat map": draw_heat_map(rng),
        "scatter": draw_scatter(rng),
        "patches": draw_patches(rng),
        "small": draw_small(rng),
    }
    return {kind: figure_to_svg(figure, name=kind, title=kind) for kind, figure in drawings.items()}


def build_example() -> ReportContent:
    """Eighteen figures (of eight drawings), five tables, twelve checks, seven findings; the same each time."""
    rng = np.random.default_rng(0)
    drawings = _draw_all(np.random.default_rng(1))
    findings = (
        Finding(
            sentence="Both networks solve the trained tasks, but only the meta-learned one keeps its accuracy on "
            "held-out tasks: .91 against .74 after five adaptation steps (1000 images each).",
            importance=0.78,
            beyond_control=True,
        ),
        Finding(
            sentence="Same/different can be read out linearly from conv4 on in the meta network (.93, interval "
            ".91 to .95) and from fc1 on in the baseline; the untrained network stays at .58 everywhere.",
            importance=0.72,
            beyond_control=True,
        ),
        Finding(
            sentence="One pair of checkpoints: these are differences between two networks, not between two ways of "
            "training. At least six seeds for each condition are needed for that.",
            importance=0.95,
        ),
        Finding(
            sentence="The first two convolutions are as alike as those of two untrained networks (debiased CKA .83 "
            "against .81).",
            importance=0.4,
            beyond_control=False,
        ),
        Finding(sentence="The meta network moved 2.4 times as far from its initial weights.", importance=0.6),
        Finding(
            sentence="12 % of the baseline's conv1 weights are below 0.001 in size; 11 % at step 0.", importance=0.2
        ),
        Finding(sentence="No atom of either dictionary is dead at conv3.", importance=0.15),
    )
    checks = {
        "behaviour": (
            Check(code="behaviour.constant", verdict="pass", sentence="Neither network answers with one class only."),
            Check(
                code="behaviour.decision_rule",
                verdict="note",
                sentence="The published rule (logit 1 > 0) and the arg max agree on 998 of 1000 images.",
            ),
        ),
        "weights": (
            Check(code="weights.paired", verdict="pass", sentence="All six layers were paired by role."),
            Check(
                code="weights.step_zero",
                verdict="warn",
                sentence="The baseline's initial weights are not known; three fresh initialisations stand in for them.",
            ),
        ),
        "activations": (
            Check(code="activations.untrained_pair", verdict="pass", sentence="The untrained pair is always shown."),
        ),
        "autoencoders": (
            Check(
                code="autoencoders.dead",
                verdict="fail",
                sentence="The L1 autoencoder of fc1 has 71 % dead atoms; its dictionary is not interpreted.",
            ),
            Check(code="autoencoders.held_out", verdict="pass", sentence="Variance explained is on held-out images."),
        ),
        "probes": (
            Check(code="probes.groups", verdict="pass", sentence="No shape is in both parts of a split."),
            Check(
                code="probes.control_task",
                verdict="warn",
                sentence="At conv1 the probe for same/different does not beat its control task (.52 against .53).",
            ),
            Check(code="probes.converged", verdict="pass", sentence="Every probe reached its optimum."),
        ),
    }
    layer = np.repeat(LAYERS, 3)
    network = np.tile(("meta", "baseline", "untrained"), len(LAYERS))
    estimates = pd.DataFrame(
        {
            "layer": layer,
            "network": network,
            "accuracy": rng.uniform(0.5, 0.95, layer.size),
            "low": rng.uniform(0.45, 0.5, layer.size),
            "selectivity": rng.normal(0, 0.1, layer.size),
            "num_images": 1000,
        }
    )
    estimates.loc[[3, 7], "selectivity"] = np.nan
    spectra = pd.DataFrame(
        {
            "layer": LAYERS,
            "distance_from_step_0": rng.uniform(0.1, 2.0, 6),
            "cosine": rng.uniform(-0.2, 0.9, 6),
            "stable_rank": rng.uniform(2, 14, 6),
            "kurtosis": [-0.31, 12.4, 0.002, np.nan, 3.1, -1.25],
            "num_weights": [432, 4608, 18432, 36864, 36864, 131072],
        }
    )
    atoms = pd.DataFrame(
        {
            "atom": np.arange(180),
            "frequency": rng.beta(1, 40, 180),
            "most_like": rng.choice(["edge", "corner, left"], 180),
        }
    )
    sections = (
        ReportSection(
            slug="behaviour",
            title="Behaviour",
            question="What do the two networks answer, and how often is it right?",
            answer="Both are far above the constant predictor on trained tasks; on held-out tasks the meta network "
            "leads by 17 points after adaptation and by 4 before it.",
            figures=(
                _figure(
                    "accuracy",
                    "Accuracy before and after adaptation",
                    "Each bar is one network; the thin line is the 95 % interval over images. The dashed line is what "
                    "a network reaches that always gives the same answer.",
                    drawings["accuracy"],
                ),
                _figure(
                    "accuracy-per-task",
                    "Accuracy on each layer's read-out",
                    "Higher is better; grey is the control.",
                    drawings["lines"],
                ),
            ),
            tables=(ReportTable(title="Accuracy", caption="Interval over images.", frame=estimates.head(6)),),
            checks=checks["behaviour"],
            findings=findings[:1],
        ),
        ReportSection(
            slug="weights",
            title="Weights",
            question="How do the weights differ, once the order of the units is taken out?",
            answer="The meta network moved further from where it started, most of all in conv5; the shapes of the "
            "distributions are alike.",
            figures=(
                _figure(
                    "distributions",
                    "Distribution of weights, layer by layer",
                    "Where the coloured line leaves the grey one, training has changed the distribution.",
                    drawings["histograms"],
                ),
                *(
                    _figure(f"displacement-{i}", title, "Grey is the control.", drawings["distance"])
                    for i, title in enumerate(("Distance from step 0", "Stable rank of the change", "Cosine to step 0"))
                ),
            ),
            tables=(ReportTable(title="Change since step 0", caption="One row per layer.", frame=spectra),),
            checks=checks["weights"],
            findings=(findings[4], findings[5]),
        ),
        ReportSection(
            slug="activations",
            title="Activations",
            question="Do the two networks represent the same images alike?",
            answer="Early layers are as alike as those of two untrained networks; from conv4 on they part.",
            figures=(
                _figure(
                    "cka",
                    "Likeness of every layer to every layer",
                    "Yellow is alike, blue is not. Compare the left panel with the right one: only what is brighter "
                    "there than here was learned.",
                    drawings["heat map"],
                ),
                *(
                    _figure(
                        f"pca-{name}", f"Principal components of {name}", "One dot is one image.", drawings["scatter"]
                    )
                    for name in LAYERS[:5]
                ),
            ),
            tables=(ReportTable(title="Likeness", caption="", frame=spectra.iloc[:, :4]),),
            checks=checks["activations"],
            findings=(findings[3],),
        ),
        ReportSection(
            slug="autoencoders",
            title="Sparse autoencoders",
            question="Which directions in activation space are used one at a time?",
            answer="At equal sparsity both dictionaries explain about as much; what they single out differs.",
            figures=(
                _figure(
                    "patches",
                    "Patches that excite an atom most",
                    "One row is one atom, its ten strongest patches from left to right.",
                    drawings["patches"],
                ),
                _figure("frontier", "Variance explained at each sparsity", "Up and left is better.", drawings["small"]),
                _figure("cka-atoms", "Likeness of atoms", "As in the figure on likeness.", drawings["heat map"]),
            ),
            tables=(ReportTable(title="Atoms of conv3", caption="All atoms that are ever active.", frame=atoms),),
            checks=checks["autoencoders"],
            findings=(findings[6],),
        ),
        ReportSection(
            slug="probes",
            title="Probes",
            question="What can be read out linearly, and where does it appear?",
            answer="Position and size can be read out everywhere, same/different only late: from conv4 in the meta "
            "network, from fc1 in the baseline.",
            figures=(
                _figure(
                    "same-different",
                    "Same or different, layer by layer",
                    "The lines are cross-validated accuracies with 95 % intervals over shapes; what lies in the grey "
                    "band could be memory for single shapes.",
                    drawings["lines"],
                ),
                _figure("selectivity", "Selectivity", "Zero is memory.", drawings["lines"]),
                _figure("codelength", "Codelength", "Shorter is easier.", drawings["accuracy"]),
            ),
            tables=(ReportTable(title="Probes", caption="Interval over shape identities.", frame=estimates),),
            checks=checks["probes"],
            findings=(findings[1],),
        ),
    )
    return ReportContent(
        title="Meta-learned and baseline conv6 on SVRT problem 1",
        subtitle="One meta-learned and one conventionally trained network of the same architecture, compared on 1000 "
        "held-out images (500 same, 500 different), beside three untrained networks.",
        networks=(
            Provenance(
                path="runs/fomaml/seed_0/final.safetensors",
                sha256="9f3ab1c2d4e5" + "0" * 52,
                architecture="conv6 with the meta-learning head, 1 logit",
                parameters="initialisation θ0, before adaptation",
                decision_rule="logit 1 > 0",
                input_scaling="ink (black is 1, white is 0), 64 × 64",
                notes=("Trained here: FOMAML, 5 inner steps, 96 000 images.", "Batch norm with running statistics."),
            ),
            Provenance(
                path="runs/baseline/seed_0/final.safetensors",
                sha256="51c0ffee77aa" + "0" * 52,
                architecture="conv6 with the meta-learning head, 1 logit",
                parameters="trained weights",
                decision_rule="logit 1 > 0",
                input_scaling="ink (black is 1, white is 0), 64 × 64",
                notes=("Trained here on the same 96 000 images.",),
            ),
        ),
        facts=(
            ("Command", "meta-baseline analyze --meta-model runs/fomaml/seed_0/final.safetensors --baseline-model "
             "runs/baseline/seed_0/final.safetensors --data-dir stimuli/original --problem-number 1 --run-all"),
            ("Versions", "meta_baseline 0.1.0, Python 3.11.9, torch 2.13.0, NumPy 2.3.1"),
            ("Seeds", "0 (subsample of images, splits, resamples)"),
            ("Device", "cpu, 2 threads"),
            ("Time", "4 min 12 s"),
        ),
        findings=findings,
        checks=(
            Check(code="study.one_pair", verdict="warn", sentence="One pair of networks; no population claim follows."),
            Check(code="study.balance", verdict="pass", sentence="The two classes are equally frequent."),
            Check(code="study.same_inputs", verdict="pass", sentence="Both networks saw the same preprocessed images."),
        ),
        sections=sections,
    )  # fmt: skip


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(render_report(build_example()), encoding="utf-8")
