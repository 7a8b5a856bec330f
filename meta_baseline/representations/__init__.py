"""What the activation analysis measures, and how it words it.

control_band        where one more pair of untrained networks would lie
layer_statistics    one layer of one network: sparsity, dead channels, dimensions, class separability
agreement           one role across networks: CKA with its interval, controls and the pixels' share
planes              the first two principal components of a layer, and the latents that lie in them
facts               all of it in one value
estimates           the same numbers as estimates
checks              what limits the conclusions
findings            what differs, in sentences
"""
