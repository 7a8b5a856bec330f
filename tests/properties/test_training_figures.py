"""Training figures and tables are functions of the outcome: they draw what there is, and say so where there is less."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from small_training import RECIPE, TASKS, make_task_images

from meta_baseline.figures.training import FIGURES, draw_accuracy_by_task, draw_learning_curves
from meta_baseline.tables.training import tabulate_training
from meta_baseline.training.answers import AdaptationTest
from meta_baseline.training.curves import LearningCurve
from meta_baseline.training.evaluation import TrainingOutcome, measure_accuracy


@pytest.fixture(scope="module")
def outcome() -> TrainingOutcome:
    network = RECIPE.build_initial_network()
    test = AdaptationTest(steps=(0, 1), num_support=4, num_draws=1, num_queries=40)
    curve = LearningCurve(
        network="meta",
        images=np.array([100, 200, 300]),
        loss=np.array([0.7, 0.5, 0.3]),
        accuracy=np.array([0.5, 0.7, 0.9]),
        adapted_accuracy=np.array([0.5, 0.8, 0.9]),
    )
    return measure_accuracy(
        {"meta": network, "baseline": network, "untrained": network},
        make_task_images(test.images_per_task),
        trained_tasks=TASKS,
        test=test,
        rng=np.random.default_rng(0),
        curves=(curve, dataclasses.replace(curve, network="baseline", adapted_accuracy=np.full(3, np.nan))),
    )


def test_every_task_is_labelled_and_held_out_ones_are_named_as_such(outcome: TrainingOutcome) -> None:
    figure = draw_accuracy_by_task(outcome)
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == ["outlines", "blocks", "crosses (held out)"]
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["as trained", "after 1 step", "answers"]


def test_the_chance_line_and_both_arms_are_in_the_learning_curves(outcome: TrainingOutcome) -> None:
    figure = draw_learning_curves(outcome)
    assert figure is not None
    labels = [line.get_label() for line in figure.axes[0].get_lines()]
    assert labels[:3] == ["meta", "meta, after its inner loop", "baseline"]
    assert np.asarray(figure.axes[0].get_lines()[3].get_ydata()).tolist() == [0.5, 0.5]


def test_without_curves_nothing_is_drawn_of_them(outcome: TrainingOutcome) -> None:
    assert draw_learning_curves(dataclasses.replace(outcome, curves=())) is None


def test_every_figure_says_how_to_read_it_in_a_slug_of_its_own() -> None:
    assert len({figure.slug for figure in FIGURES}) == len(FIGURES)
    assert all(figure.how_to_read.endswith(".") for figure in FIGURES)


def test_tables_hold_every_accuracy_and_every_difference(outcome: TrainingOutcome) -> None:
    tables = tabulate_training(outcome)
    accuracy = tables["accuracy_by_task"]
    assert len(accuracy) == 3 * 3 * 2
    assert np.array_equal(accuracy["accuracy"], outcome.accuracy.ravel())
    assert list(tables["differences"]["meta - baseline"]) == [c.difference for c in outcome.comparisons]
    assert list(tables["learning_curves"]["images to 80 %"]) == [300, 300]
