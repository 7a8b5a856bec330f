"""From the options of ``meta-baseline generate`` to files: planned, checked, made, and moved into place when whole."""

from __future__ import annotations

import argparse
import io
import json
import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from meta_baseline.commands.generate_audit import print_audits
from meta_baseline.commits import (
    commit_prepared,
    hash_file,
    hash_values,
    is_committed,
    locked,
    record_path,
    write_atomic,
)
from meta_baseline.console import say, show_progress
from meta_baseline.errors import EnvironmentProblem, OutputFolderError, UsageError
from meta_baseline.stimuli import Task, check_options, prepare_tasks
from meta_baseline.stimuli.arrays_file import ArraysFile
from meta_baseline.stimuli.compositor import OBJECTS_FILE
from meta_baseline.stimuli.episodes_file import (
    NUM_EPISODES,
    QUERY_SIZE,
    SUPPORT_SIZES,
    EpisodesFile,
    check_episode_options,
)
from meta_baseline.stimuli.folder import PngFolder
from meta_baseline.stimuli.preview import draw_contact_sheet
from meta_baseline.stimuli.production import Export, Production, produce, start_production
from meta_baseline.stimuli.stimulus_set import ImageSet, StimulusSet, check_pairs

_NUM_IMAGES = 2000
_MOST_IMAGES = 10**8
_MOST_PER_EPISODE = 512
_MOST_WORKERS = 1024
_LARGEST_SEED = 2**63 - 1
_STIMULI = Path(__file__).parents[1] / "stimuli"


def plan_exports(tasks: Sequence[Task], options: argparse.Namespace) -> tuple[Export, ...]:
    """What is to be made, in the order of the tasks; of a user's own objects where no task is named.

    Raises:
        UsageError: for a number that makes no sense, or an option of another format.
    """
    _check_size("--seed", options.seed, _LARGEST_SEED)
    _check_size("--workers", options.workers, _MOST_WORKERS)
    sets = _list_sets(tasks, options)
    common = {name: getattr(options, name) for name in ("seed", "image_size", "identities", "workers")}
    if options.format == "h5-episodes":
        if options.num_images is not None:
            raise UsageError("Episodes are counted with --num-episodes, not with --num-images. Leave that out.")
        if options.minimal_pairs is not None:
            raise UsageError("Minimal pairs do not come in episodes. Choose --format png or npz.")
        support_sizes = options.support_size or SUPPORT_SIZES
        query_size = QUERY_SIZE if options.query_size is None else options.query_size
        num_episodes = NUM_EPISODES[options.split] if options.num_episodes is None else options.num_episodes
        check_episode_options(num_episodes=num_episodes, support_sizes=support_sizes, query_size=query_size)
        for option, size in (("--support-size", max(support_sizes)), ("--query-size", query_size)):
            _check_size(option, size, _MOST_PER_EPISODE)
        _check_size("--num-episodes", num_episodes, _MOST_IMAGES // (max(support_sizes) + query_size))
        check_options(num_images=num_episodes * (min(support_sizes) + query_size), **common)
        return tuple(
            EpisodesFile(stimuli=one, num_episodes=num_episodes, support_size=support_size, query_size=query_size)
            for one in sets
            for support_size in support_sizes
        )
    for name in ("support_size", "query_size", "num_episodes"):
        if getattr(options, name) is not None:
            raise UsageError(f"--{name.replace('_', '-')} is for episodes. Add --format h5-episodes, or leave it out.")
    num_images = _NUM_IMAGES if options.num_images is None else options.num_images
    check_options(num_images=num_images, **common)
    _check_size("--num-images", num_images, _MOST_IMAGES)
    for one in sets:
        if isinstance(one, StimulusSet):
            check_pairs(one, num_images)
    form = PngFolder if options.format == "png" else ArraysFile
    return tuple(form(stimuli=one, num_images=num_images) for one in sets)


def _list_sets(tasks: Sequence[Task], options: argparse.Namespace) -> Sequence[ImageSet]:
    if options.objects is not None:
        # With the reader of images comes torch, which generating alone does not wait for.
        from meta_baseline.commands.generate_objects import read_object_set

        return (read_object_set(options),)
    for name in ("object_size", "rotation", "scale"):
        if getattr(options, name) is not None:
            raise UsageError(f"--{name.replace('_', '-')} is for --objects. Leave it out.")
    return [
        StimulusSet(
            task=task.name,
            seed=options.seed,
            split=options.split,
            image_size=options.image_size,
            identities=options.identities,
            varied=options.minimal_pairs,
        )
        for task in tasks
    ]


def write_exports(exports: Sequence[Export], options: argparse.Namespace) -> None:
    """Make what is not there yet, and the sheets and tables that were asked for.

    Raises:
        EnvironmentProblem: when the folder cannot be written.
        OutputFolderError: when something else is in the way, or another run is writing.
    """
    folder: Path = options.output_dir
    try:
        _check_writable(folder)
        with locked(folder):
            _write(exports, folder, options)
    except BrokenPipeError:
        raise
    except OSError as error:
        reason = error.strerror or " ".join(str(error).split())
        where = f" ({error.filename})" if error.filename else ""
        raise EnvironmentProblem(
            f"Cannot write to {folder}: {reason}{where}. Make room and run the same command again to continue, or "
            "choose another folder with --output-dir."
        ) from error


def _write(exports: Sequence[Export], folder: Path, options: argparse.Namespace) -> None:
    waiting = [export for export in exports if not is_committed(folder / export.target, _key(export))]
    for export in waiting:
        _check_free(export, folder, overwrite=options.overwrite)
    for export in exports:
        if export not in waiting:
            say(f"Already there: {export.title}: {folder / export.target}")
    productions = [_start(export, folder) for export in waiting]
    _announce_compilation(productions)
    num_missing = sum(production.num_missing for production in productions)
    made = produce(productions, workers=options.workers)
    for finished in show_progress(made, desc="stimuli", total=num_missing, unit="image", smoothing=0.05):
        if finished is not None:
            _commit(finished, folder / finished.export.target)
    for stimuli in dict.fromkeys(export.stimuli for export in exports):
        if options.objects is not None:
            write_atomic(folder / OBJECTS_FILE, stimuli.list_objects())  # pyright: ignore[reportAttributeAccessIssue]
        if options.preview:
            _write_preview(stimuli, folder)
    if options.audit:
        print_audits(exports, folder)


def _start(export: Export, folder: Path) -> Production:
    target = folder / export.target
    target.parent.mkdir(parents=True, exist_ok=True)
    # Chunks of another version of the drawing code are no part of this output.
    production = start_production(export, folder, hash_values(_key(export), _hash_code()))
    there = production.num_images - production.num_missing
    if there:
        say(f"Continuing: {there} of {production.num_images} images of {export.stimuli.task} were made before.")
    return production


def _commit(production: Production, target: Path) -> None:
    if target.is_file() or (target.exists() and any(target.iterdir())):
        _move_aside(target)
    elif target.exists() and production.partial.output.is_file():
        target.rmdir()
    commit_prepared(production.partial.output, target, _key(production.export))
    production.partial.discard()
    say(f"{production.export.title}: {target}")


def _key(export: Export) -> str:
    return hash_values("stimuli", type(export).__name__, repr(export), export.stimuli.about.code)


@cache
def _hash_code() -> str:
    return hash_values([(path.name, hash_file(path)) for path in sorted(_STIMULI.rglob("*.py"))])


def _announce_compilation(productions: Sequence[Production]) -> None:
    tasks = {production.export.stimuli.task: production.export.stimuli.about for production in productions}
    compiled = [task for task in tasks.values() if task.needs_compilation]
    if compiled:
        say("Preparing the contour generator (compiles for some seconds the first time on a machine).")
        prepare_tasks(compiled)


def _write_preview(stimuli: ImageSet, folder: Path) -> None:
    buffer = io.BytesIO()
    draw_contact_sheet(stimuli).save(buffer, format="PNG")
    path = folder / f"{stimuli.name}_{stimuli.split}_preview.png"
    write_atomic(path, buffer.getvalue())
    say(f"Contact sheet of {stimuli.name}: {path}")


def _check_size(option: str, number: int, most: int) -> None:
    if number > most:
        raise UsageError(f"{option} {number} is too much. Choose {most} at most.")


def _check_free(export: Export, folder: Path, *, overwrite: bool) -> None:
    target = folder / export.target
    for parent in target.parents:
        if parent == folder:
            break
        if parent.exists() and not parent.is_dir():
            raise OutputFolderError(f"{parent} is a file, not a folder. Move it, or choose another with --output-dir.")
    if overwrite or not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    if _has_record_of(target, _key(export)):
        what = "is not as it was made: something in it has changed since"
    else:
        what = "holds other files" if target.is_dir() else "is another file"
    raise OutputFolderError(
        f"{target} {what}. Choose another folder with --output-dir, or move it aside with --overwrite."
    )


def _has_record_of(target: Path, key: str) -> bool:
    try:
        return json.loads(record_path(target).read_text(encoding="utf-8"))["key"] == key
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _check_writable(folder: Path) -> None:
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not existing.is_dir():
        raise EnvironmentProblem(f"{existing} is a file, not a folder. Choose another folder with --output-dir.")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise EnvironmentProblem(f"Cannot write to {existing}. Choose another folder with --output-dir.")


def _move_aside(target: Path) -> None:
    number = 1
    while (aside := target.with_name(f"{target.stem}.replaced-{number}{target.suffix}")).exists():
        number += 1
    record = record_path(target)
    if record.exists():
        record.replace(record_path(aside))
    target.replace(aside)
