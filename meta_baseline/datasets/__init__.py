"""The one reader of stimuli on disk: formats are detected, not asked for (docs/formats.md).

reading       read_stimuli: whatever lies there -> labels, latents, groups, checks
loading       StimulusDataset, build_loader: the images as batches; hash_stimuli

finding       which sets a data folder holds, and which one is meant
names, walk   what names say; listing folders without leaving them
sources       an image source gives pixels by position, whatever they are stored in
folders, hdf5, tfrecords, npz       one format each
images, hdf5_process, hdf5_child, protobuf, crc32c       untrusted bytes, taken apart with care
scanning      one look at every image, in threads
latents, measured       latents that come with the images, or are measured from their pixels
checks, leaks           what has to be said before anything is concluded
shortcuts, auc          how far one gets without comparing shapes
"""

from meta_baseline.datasets.loading import StimulusDataset, build_loader, hash_stimuli, read_grey_images
from meta_baseline.datasets.reading import Stimuli, read_stimuli

__all__ = ["Stimuli", "StimulusDataset", "build_loader", "hash_stimuli", "read_grey_images", "read_stimuli"]
