"""Which cells of a map are worth keeping: those that look at ink, and a few blank ones beside them.

Most of a stimulus is empty paper. A sample of channel vectors drawn evenly over a map would therefore be one vector,
that of blank paper, many times over; here at most a quarter of the sampled positions of an image are blank.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Num
from numpy import ndarray
from torch import Tensor
from torch.nn import functional

BLANK_FRACTION = 0.25
_INK_CONTRAST = 0.1


def find_ink(images: Num[Tensor, "N C H W"]) -> Bool[Tensor, "N 1 H W"]:
    """Pixels whose distance from the image's ground, in any channel, is over a tenth of the image's largest.

    The ground is the median of the image's outermost pixels, so that dark ink on white, light ink on black and
    coloured ink are found alike. A constant image has no ink.
    """
    values = images.float()
    top, bottom, left, right = values[:, :, 0], values[:, :, -1], values[:, :, :, 0], values[:, :, :, -1]
    ground = torch.cat([top, bottom, left, right], dim=2).median(dim=2).values
    contrast = (values - ground[:, :, None, None]).abs_().amax(dim=1, keepdim=True)
    return contrast > _INK_CONTRAST * contrast.amax(dim=(2, 3), keepdim=True)


def find_foreground(
    ink: Bool[Tensor, "N 1 H W"] | Float[Tensor, "N 1 H W"], height: int, width: int
) -> Bool[ndarray, "N h w"]:
    """Cells of a map of ``height`` x ``width`` whose input area, or that of one of their eight neighbours, has ink."""
    cells = functional.adaptive_max_pool2d(ink.float(), (height, width))
    return (functional.max_pool2d(cells, kernel_size=3, stride=1, padding=1)[:, 0] > 0).cpu().numpy()


def sample_positions(
    foreground: Bool[ndarray, "N h w"], num_positions: int, rng: np.random.Generator
) -> tuple[Int[ndarray, " M"], Int[ndarray, " M"], Int[ndarray, " M"], Bool[ndarray, " M"]]:
    """Image, row, column and foreground flag of at most ``num_positions`` cells per image, none of them twice.

    At most a quarter of an image's positions are blank; an image without foreground gives none. Cells are listed in
    the order image, row, column. What is drawn depends on ``rng`` and the number of cells before it, not on how the
    images are cut into batches.
    """
    num_images, height, width = foreground.shape
    inked = foreground.reshape(num_images, height * width)
    keys = rng.random(inked.shape)
    num_inked = inked.sum(axis=1)
    num_blank = np.minimum((~inked).sum(axis=1), int(BLANK_FRACTION * num_positions))
    take_inked = np.minimum(num_inked, num_positions - num_blank)
    # b / (f + b) <= q  exactly when  b <= f q / (1 - q)
    take_blank = np.minimum(num_blank, np.floor(take_inked * BLANK_FRACTION / (1 - BLANK_FRACTION)).astype(int))
    chosen = _smallest(np.where(inked, keys, 2.0), take_inked) | _smallest(np.where(inked, 2.0, keys), take_blank)
    image, cell = np.nonzero(chosen)
    return image, cell // width, cell % width, inked[image, cell]


def _smallest(keys: ndarray, counts: ndarray) -> ndarray:
    """Mark the ``counts[i]`` smallest keys of row i."""
    most = int(min(counts.max(initial=0), keys.shape[1]))
    marked = np.zeros(keys.shape, dtype=bool)
    if most == 0:
        return marked
    first = np.argpartition(keys, most - 1, axis=1)[:, :most]
    order = np.argsort(np.take_along_axis(keys, first, axis=1), axis=1)
    ranked = np.take_along_axis(first, order, axis=1)
    np.put_along_axis(marked, ranked, np.arange(most) < counts[:, None], axis=1)
    return marked
