"""From networks and image files to what they decide, on disk, in tables and in figures."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure

from meta_baseline.activations import collect_stores
from meta_baseline.behaviour import BehaviourResult, measure_behaviour
from meta_baseline.datasets import read_stimuli
from meta_baseline.decisions.comparison import Deciders
from meta_baseline.figures.behaviour import FIGURES
from meta_baseline.models import architecture_of, build_network
from meta_baseline.results import load_result, save_result
from meta_baseline.stimuli import write_svrt_folder
from meta_baseline.tables.behaviour import tabulate_behaviour


def build(seed):
    architecture = architecture_of("stack4", image_size=32, head="meta")
    return build_network(architecture, torch.Generator().manual_seed(seed)).eval()


@pytest.fixture(scope="module")
def stimuli(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stimuli")
    images = folder / "results_irregular" / "test"
    images.mkdir(parents=True)
    write_svrt_folder(images, "irregular", num_images=40, seed=0, split="test")
    return read_stimuli(folder, task="irregular")


@pytest.fixture(scope="module")
def stores(stimuli):
    return collect_stores(build(1), build(2), stimuli, meta_initial=build(0), rng=np.random.default_rng(0))


def measure(stores, stimuli=None):
    deciders = Deciders(meta=build(1), baseline=build(2), meta_initial=build(0), stimuli=stimuli) if stimuli else None
    rng = np.random.default_rng(0)
    return measure_behaviour(stores, meta_rule="logit", baseline_rule="logit", rng=rng, deciders=deciders)


@pytest.fixture(scope="module")
def result(stores, stimuli):
    return measure(stores, stimuli)


def test_every_figure_is_drawn_and_says_how_to_read_it(result):
    for spec in FIGURES:
        assert isinstance(spec.draw(result), Figure)
        assert len(spec.how_to_read) > 100


def test_the_result_survives_the_disk_and_is_the_same_again(result, stores, stimuli, tmp_path):
    save_result(result, tmp_path)
    back = load_result(tmp_path)
    assert isinstance(back, BehaviourResult)
    np.testing.assert_equal(dataclasses.asdict(back.decisions), dataclasses.asdict(result.decisions))
    again = measure(stores, stimuli)
    np.testing.assert_equal(dataclasses.asdict(again.decisions), dataclasses.asdict(result.decisions))


def test_margins_of_single_stimuli_are_those_of_the_pass(result, stores):
    for stimulus in result.decisions.attributed:
        for one, store in zip(stimulus.attributions, (stores.meta, stores.baseline, stores.untrained[0])):
            assert one.margin == pytest.approx(store.margin[stimulus.shown.image], abs=1e-4)


def test_every_estimate_has_a_name_of_its_own_and_findings_rest_on_estimates(result):
    names = [estimate.name for estimate in result.estimates]
    assert len(set(names)) == len(names)
    assert {"decisions.error_consistency", "sensitivity.accuracy.ink.meta"} <= set(names)
    assert {name for finding in result.findings for name in finding.estimates} <= set(names)


def test_tables_name_files_without_their_folders_and_stay_short(result):
    tables = tabulate_behaviour(result)
    assert {"accuracy", "confusion", "agreement", "sensitivity", "occlusion"} <= set(tables)
    assert all(0 < len(frame) <= 300 for frame in tables.values())
    assert not tables["occlusion"]["stimulus"].str.contains("/").any()
    assert tables["confusion"]["task"].unique().tolist() == ["all images"]


def test_several_tasks_have_a_confusion_each(stores):
    tasks = pd.Series(np.arange(40) % 4 // 2, name="task")
    networks = ("meta", "baseline")
    given = {name: getattr(stores, name) for name in networks}
    given = {n: dataclasses.replace(store, latents=store.latents.assign(task=tasks)) for n, store in given.items()}
    found = measure(dataclasses.replace(stores, **given)).decisions.confusions
    own = [one for one in found if one.network == "meta"]
    assert [one.task for one in own] == ["task 0", "task 1"]
    assert all(one.true_1 + one.false_0 == 10 and one.true_0 + one.false_1 == 10 for one in own)
    answers = stores.meta.margin > 0
    assert own[1].true_1 == int((answers & (stores.meta.labels == 1) & (tasks == 1)).sum())


def test_without_images_and_latents_what_is_left_is_measured(stores):
    bare = {
        name: dataclasses.replace(getattr(stores, name), latents=pd.DataFrame(index=range(40)))
        for name in ("meta", "baseline")
    }
    result = measure(dataclasses.replace(stores, **bare))
    drawn = {spec.slug: spec.draw(result) for spec in FIGURES}
    assert [slug for slug, figure in drawn.items() if figure is not None] == ["accuracy", "agreement"]
    assert set(tabulate_behaviour(result)) == {"accuracy", "confusion", "agreement"}
