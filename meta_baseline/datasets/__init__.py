"""The one reader of stimuli on disk.

folders    where the images of a problem lie, in every layout that laboratories have
images     one PNG -> uint8 RGB, or the reason why not
measured   latents measured from pixels, for images that come without
reading    read_stimuli: a folder -> paths, labels, latents, groups, checks
loading    StimulusDataset, build_loader: the same images as batches
"""

from meta_baseline.datasets.loading import StimulusDataset, build_loader, read_grey_images
from meta_baseline.datasets.reading import Stimuli, read_stimuli

__all__ = ["Stimuli", "StimulusDataset", "build_loader", "read_grey_images", "read_stimuli"]
