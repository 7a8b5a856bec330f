"""The weight analysis from two networks to its figures and tables."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from weight_worlds import add_noise, make_network, random_images

from meta_baseline.figures.style import save_figure
from meta_baseline.figures.weights import FIGURES
from meta_baseline.results import load_result, save_result
from meta_baseline.tables.weights import tabulate_weights
from meta_baseline.weight_analysis import compare_weight_spaces


@pytest.fixture(scope="module")
def results():
    initial = make_network(0, trained=False)
    full = compare_weight_spaces(
        add_noise(initial, 0.5, seed=1),
        add_noise(initial, 0.5, seed=2),
        meta_initial=initial,
        baseline_initial=initial,
        meta_seeds=[add_noise(initial, 0.5, seed=3)],
        meta_seed_initials=[make_network(7, trained=False)],
        loader=[(random_images(initial, num=16), torch.arange(16) % 2)],
    )
    reduced = compare_weight_spaces(make_network(0), make_network(1, name="conv2", head="baseline"))
    return {"full": full, "reduced": reduced}


def test_every_figure_is_drawn_with_its_control_and_labels(results):
    for spec in FIGURES:
        figure = spec.draw(results["full"])
        assert isinstance(figure, Figure), spec.slug
        legend = " ".join(text.get_text() for text in figure.legends[0].get_texts())
        assert "untrained" in legend or "unrelated" in legend, spec.slug
        plots = [ax for ax in figure.axes if ax.axison and not ax.images and ax.get_label() != "<colorbar>"]
        assert all(ax.get_title(loc="left") for ax in plots), spec.slug
        assert figure.get_figwidth() <= 7.2
        assert spec.how_to_read.endswith(".")


def test_further_seeds_and_shuffled_weights_are_in_every_figure_that_can_hold_them(results):
    words = {
        spec.slug: " ".join(text.get_text() for text in list_texts(spec.draw(results["full"]))) for spec in FIGURES
    }
    assert {slug for slug, text in words.items() if "seed" not in text} == {"loss_surface"}
    unshuffled = {"loss_between", "loss_surface", "distributions", "displacement"}  # docs/weights.md says why
    assert {slug for slug, text in words.items() if "shuffled" not in text} == unshuffled


def list_texts(figure):
    legends = [text for legend in figure.legends for text in legend.get_texts()]
    return legends + [text for ax in figure.axes for text in ax.texts]


def test_figures_without_content_are_not_drawn(results):
    drawn = {spec.slug: spec.draw(results["reduced"]) for spec in FIGURES}
    assert {slug for slug, figure in drawn.items() if figure is None} == {
        "joint_projection",
        "matching",
        "displacement",
        "network_paths",
        "loss_between",
        "loss_surface",
        "first_layer",
    }


def test_a_figure_redrawn_from_the_saved_result_has_the_same_bytes(results, tmp_path):
    save_result(results["full"], tmp_path)
    again = load_result(tmp_path)
    spec = next(spec for spec in FIGURES if spec.slug == "matching")
    for name, result in (("one", results["full"]), ("two", again)):
        figure = spec.draw(result)
        assert figure is not None
        save_figure(figure, tmp_path / name)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()


def test_tables_hold_every_layer_beside_its_control(results):
    tables = tabulate_weights(results["full"])
    assert set(tables) == {
        "statistics",
        "relations",
        "displacements",
        "tails",
        "running_statistics",
        "network_paths",
        "loss_between",
    }
    assert set(tables["statistics"]["layer"]) == {"conv1", "conv2", "conv3", "conv4", "fc1", "classifier"}
    assert np.isfinite(tables["relations"]["cosine, untrained pairs"]).all()
    assert len(tables["displacements"]) == 12
    reduced = tabulate_weights(results["reduced"])
    assert set(reduced) == {"statistics", "tails", "running_statistics", "not_compared"}
    assert (reduced["not_compared"]["reason"].str.len() > 0).all()
