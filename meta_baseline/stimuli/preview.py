"""A contact sheet: the first images of a set, both classes, with the rule in words above them."""

from __future__ import annotations

import textwrap

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from meta_baseline.stimuli.canvas import CANVAS_SIZE
from meta_baseline.stimuli.stimulus_set import ImageSet

_COLUMNS, _ROWS = 8, 3
_GAP, _MARGIN = 8, 16
_CAPTION = 16
_WIDTH = 2 * _MARGIN + _COLUMNS * CANVAS_SIZE + (_COLUMNS - 1) * _GAP
_PAPER, _FRAME, _INK, _PALE = (255, 255, 255), (190, 190, 190), (20, 20, 20), (110, 110, 110)
_TITLE_SIZE, _TEXT_SIZE, _CAPTION_SIZE = 22, 15, 11
_LETTERS_PER_LINE = 140


def draw_contact_sheet(stimuli: ImageSet) -> Image.Image:
    """The first 24 images of each class at the size of the set, with their numbers; class 1 above."""
    task = stimuli.about
    about = [*_wrap(f"Rule: {task.rule}"), *_wrap(f"Class 1: {task.class_1_means}. Class 0: not so.")]
    for shortcut in task.shortcuts:
        about += _wrap(f"Known shortcut: {shortcut}")
    line = _TEXT_SIZE + 5
    head = _MARGIN + _TITLE_SIZE + 10 + line * len(about)
    blocks = _list_blocks(stimuli)
    sheet = Image.new("RGB", (_WIDTH, head + sum(2 * line + _height(rows) for _, rows in blocks) + _MARGIN), _PAPER)
    pen = ImageDraw.Draw(sheet)
    source = f"{stimuli.split} split, seed {stimuli.seed}"
    pen.text((_MARGIN, _MARGIN), f"{stimuli.name} ({source})", _INK, ImageFont.load_default(_TITLE_SIZE))
    text = ImageFont.load_default(_TEXT_SIZE)
    for number, words in enumerate(about):
        pen.text((_MARGIN, _MARGIN + _TITLE_SIZE + 10 + number * line), words, _INK, text)
    top = head
    for title, indices in blocks:
        pen.text((_MARGIN, top + line // 2), title, _INK, text)
        _draw_block(sheet, pen, stimuli, indices, top + 2 * line)
        top += 2 * line + _height(indices)
    return sheet


def _list_blocks(stimuli: ImageSet) -> list[tuple[str, range]]:
    if stimuli.varied is not None:
        return [(f"minimal pairs, side by side: they differ in {stimuli.varied}", range(2 * _COLUMNS * _ROWS))]
    return [(f"class {label}", range(label, 2 * _COLUMNS * _ROWS, 2)) for label in (1, 0)]


def _height(indices: range) -> int:
    return len(indices) // _COLUMNS * (CANVAS_SIZE + _CAPTION)


def _draw_block(sheet: Image.Image, pen: ImageDraw.ImageDraw, stimuli: ImageSet, indices: range, top: int) -> None:
    images, columns = stimuli.draw(indices)
    font = ImageFont.load_default(_CAPTION_SIZE)
    for place, (image, index) in enumerate(zip(images, indices)):
        row, column = divmod(place, _COLUMNS)
        left, upper = _MARGIN + column * (CANVAS_SIZE + _GAP), top + row * (CANVAS_SIZE + _CAPTION)
        pen.rectangle((left - 1, upper - 1, left + CANVAS_SIZE, upper + CANVAS_SIZE), outline=_FRAME)
        sheet.paste(_enlarge(image), (left, upper))
        caption = f"{index}"
        if stimuli.varied is not None:
            caption += f", pair {index // 2}, class {columns['label'][place]}"
        elif stimuli.identities is not None:
            caption += f", identity {columns['identity'][place]}"
        pen.text((left, upper + CANVAS_SIZE + 1), caption, _PALE, font)


def _enlarge(image: NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(image).convert("RGB").resize((CANVAS_SIZE, CANVAS_SIZE), Image.Resampling.NEAREST)


def _wrap(words: str) -> list[str]:
    return textwrap.wrap(words, _LETTERS_PER_LINE, subsequent_indent="    ")
