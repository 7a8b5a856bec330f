"""The letters in shapes, one meaning each, across the whole package.

N  images                     S  seeds (independently trained models)
C  channels                   U  units of one layer, flattened (C * H * W)
H, W  height, width           A  atoms (latents) of a sparse dictionary
P  parameters of one layer    R  resamples (permutations, bootstraps)
M  positions sampled from the maps of one layer, over all images
K  logits of a network (1 or 2), or classes
L  layers                     T  tasks
"""
