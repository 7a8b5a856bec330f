"""Each guard finds its own planted fault, and is silent on a sound run."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from small_training import RECIPE, make_pool

from meta_baseline.training import guards
from meta_baseline.training.pool_images import PoolImages


def network_and_images():
    network = RECIPE.build_initial_network().train()
    pool = make_pool()
    images = PoolImages(pool, network, augmentation=None).look_at(guards.spread_rows(len(pool.labels)))
    return network, images


def test_blank_images_fail_and_are_named_by_task() -> None:
    pool = make_pool()
    assert guards.check_blank_images(pool).verdict == "pass"
    images = pool.images.copy()
    images[pool.task_slice("blocks")] = 255
    check = guards.check_blank_images(replace(pool, images=images))
    assert check.verdict == "fail" and "128 of 256 images looked at are blank (blocks)" in check.sentence


def test_faint_images_are_not_blank() -> None:
    pool = make_pool()
    assert guards.check_blank_images(replace(pool, images=255 - (255 - pool.images) // 20)).verdict == "pass"


def test_a_dead_layer_is_named_with_its_share() -> None:
    network, images = network_and_images()
    assert guards.check_dead_units(network, images).verdict == "pass"
    with torch.no_grad():
        network.layer_norms[0].bias.fill_(-100.0)
    check = guards.check_dead_units(network, images)
    assert check.verdict == "warn" and "100% of the units of fc_relus.0" in check.sentence
    assert network.training


def test_a_constant_answer_fails_whichever_it_is() -> None:
    network, images = network_and_images()
    for bias in (-9.0, 9.0):
        with torch.no_grad():
            network.classifier.bias.fill_(bias)
        assert guards.check_constant_answer(network, images).verdict == "fail"


def test_classes_that_do_not_come_out_even_are_warned_of() -> None:
    pool = make_pool()
    assert guards.check_classes(pool).verdict == "pass"
    labels = pool.labels.copy()
    labels[np.flatnonzero(labels == 0)[:30]] = 1
    check = guards.check_classes(replace(pool, labels=labels))
    assert check.verdict == "warn" and "61.7%" in check.sentence
