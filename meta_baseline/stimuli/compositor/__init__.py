"""Same-different scenes of pictured objects: a user's own object images on white paper.

The layout of Tartaglini et al. (2023, arXiv:2310.09612): two objects that do not overlap, as they are or rotated and
scaled. Pictures come in as arrays; ``meta_baseline.datasets.read_objects`` reads them from a folder of PNG files, by
the one safe reader of images, which lies above the stimuli in the order of imports.
"""

from meta_baseline.stimuli.compositor.objects import ObjectImages, build_objects, split_objects
from meta_baseline.stimuli.compositor.scene_folder import OBJECTS_FILE, list_objects, write_scene_folder
from meta_baseline.stimuli.compositor.scenes import ObjectScenes, Variety

__all__ = [
    "OBJECTS_FILE",
    "ObjectImages",
    "ObjectScenes",
    "Variety",
    "build_objects",
    "list_objects",
    "split_objects",
    "write_scene_folder",
]
