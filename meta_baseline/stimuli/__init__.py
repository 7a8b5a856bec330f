"""Stimuli with their latents: one key in, one image out.

registry      TASKS, PROBLEMS, get_task, get_problem    what can be drawn, and its rule
generation    generate_image, generate_dataset          (seed, index) -> image, label, latents
pool          generate_pool, open_pool                  many small grey images in one file, for training
stimulus_set  StimulusSet                               any slice of a set, minimal pairs too, as images and a table
folder, arrays_file, episodes_file                      one format on disk each
production, partial                                     made in chunks that a later run can take up
preview       draw_contact_sheet                        a set at a glance
canvas, scene, puebla_bowers, svrt                      how the drawing is done
"""

from meta_baseline.stimuli.folder import name_folder, write_svrt_folder
from meta_baseline.stimuli.generation import (
    SPLITS,
    Split,
    Stimulus,
    check_options,
    generate_dataset,
    generate_image,
    prepare_tasks,
)
from meta_baseline.stimuli.pool import TrainingPool, generate_pool, open_pool
from meta_baseline.stimuli.registry import PROBLEMS, TASKS, get_problem, get_task
from meta_baseline.stimuli.stimulus_set import StimulusSet
from meta_baseline.stimuli.task import Task

__all__ = [
    "PROBLEMS",
    "SPLITS",
    "TASKS",
    "Split",
    "Stimulus",
    "StimulusSet",
    "Task",
    "TrainingPool",
    "check_options",
    "generate_dataset",
    "generate_image",
    "generate_pool",
    "get_problem",
    "get_task",
    "name_folder",
    "open_pool",
    "prepare_tasks",
    "write_svrt_folder",
]
