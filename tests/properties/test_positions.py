"""Where the maps are sampled."""

import numpy as np
import pytest
import torch
from activation_world import make_images

from meta_baseline.activations.positions import find_foreground, find_ink, sample_positions


def channels_first(images):
    return images.permute(0, 3, 1, 2)


def test_ink_is_found_whatever_its_colour_and_ground():
    images = channels_first(make_images())
    ink = find_ink(images)
    expected = (images != 255).any(dim=1, keepdim=True)
    assert torch.equal(ink, expected)
    assert torch.equal(find_ink(255 - images), expected)
    assert torch.equal(find_ink(images.float() / 127.5 - 1), expected)
    pale = torch.where(expected, torch.tensor([250, 255, 255])[None, :, None, None], 255)
    assert torch.equal(find_ink(pale.to(torch.uint8)), expected)


def test_a_constant_image_has_no_ink():
    assert not find_ink(torch.full((2, 3, 9, 9), 130, dtype=torch.uint8)).any()


@pytest.mark.parametrize("size", [(5, 5), (12, 12), (7, 3), (24, 24)])
def test_a_cell_is_foreground_where_it_or_a_neighbour_covers_ink(size):
    ink = find_ink(channels_first(make_images()))
    found = find_foreground(ink, *size)
    pixels = ink[:, 0].numpy()
    inked = np.zeros((len(pixels), *size), dtype=bool)
    for row in range(size[0]):
        for column in range(size[1]):
            rows = slice(row * 24 // size[0], -((row + 1) * -24 // size[0]))
            columns = slice(column * 24 // size[1], -((column + 1) * -24 // size[1]))
            inked[:, row, column] = pixels[:, rows, columns].any(axis=(1, 2))
    padded = np.pad(inked, ((0, 0), (1, 1), (1, 1)))
    shifts = [padded[:, i : i + size[0], j : j + size[1]] for i in range(3) for j in range(3)]
    assert (found == np.any(shifts, axis=0)).all()


@pytest.mark.parametrize("density", [0.0, 0.01, 0.2, 0.9, 1.0])
@pytest.mark.parametrize("num_positions", [1, 8, 24])
def test_at_most_a_quarter_of_an_images_positions_is_blank_and_none_is_drawn_twice(density, num_positions):
    rng = np.random.default_rng(0)
    foreground = rng.random((20, 9, 11)) < density
    image, row, column, inked = sample_positions(foreground, num_positions, rng)
    assert (foreground[image, row, column] == inked).all()
    assert len(np.unique(np.stack([image, row, column]), axis=1).T) == len(image)
    assert (np.lexsort((column, row, image)) == np.arange(len(image))).all()
    for number, cells in enumerate(foreground):
        own = inked[image == number]
        assert len(own) <= num_positions
        assert (~own).sum() <= 0.25 * len(own)
        assert own.sum() >= min(cells.sum(), np.ceil(0.75 * num_positions))


def test_an_image_without_ink_gives_no_position():
    image, *_ = sample_positions(np.zeros((3, 5, 5), dtype=bool), 24, np.random.default_rng(0))
    assert len(image) == 0


def test_every_inked_cell_is_drawn_equally_often():
    foreground = np.zeros((4000, 6, 6), dtype=bool)
    foreground[:, 1:4, 1:5] = True
    _, row, column, inked = sample_positions(foreground, 4, np.random.default_rng(0))
    counts = np.zeros((6, 6))
    np.add.at(counts, (row[inked], column[inked]), 1)
    assert np.ptp(counts[1:4, 1:5]) < 5 * np.sqrt(1000)
    assert counts.sum() == 12000
