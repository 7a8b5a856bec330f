"""Sparse dictionaries of activations: how one is trained, what it explains, what its features see, and who shares them.

autoencoder   TrainedAutoencoder: encode, decode, measure; plain arrays that can be saved
gradients     the loss and its gradient in closed form
training      the gradient descent: TopK, ReLU + L1, and the control with a frozen random decoder
fidelity      held-out variance explained, sparsity, dead and dense atoms; PCA with as many components as reference
fits          one dictionary of one layer: size, training, measures
matching      atoms of two dictionaries matched by what they respond to; agreement of dictionary seeds
features      the features that matter most, and the image patches that they respond to
selectivity   what single features say about the label and the latents, against the best of as many by chance
layer         one layer, all dictionaries, compared: the unit of work
facts         everything that was measured, before anything is said about it
estimates, checks, findings   what is said
"""
