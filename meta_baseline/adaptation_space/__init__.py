"""What adaptation does to one network on one episode at a time, and what may be concluded from many episodes.

settings      how networks are adapted; Subject: a network with its own loss and decision rule
drawing       episodes: disjoint balanced supports and queries of one task, no shape identity on both sides
parts         a network by layers: which parameters belong to which role, and the network from a layer on
freezing      accuracy when only some layers adapt
change        how far weights and representations move; answers without a head
coherence     whether episodes move the network in one direction, against shuffled labels
sharpness     what the loss gains within a small distance
resemblance   how much alike two networks see the same queries, before and after
folding, cost        the same numbers in fewer operations; how many episodes a network is worth
origin, fresh        which rate and tasks the checkpoints name; fresh images of tasks held out
episode, subject      all of this for one episode, and for all episodes of one network
contrasts     intervals over episodes and the verdict layer by layer
checks, estimates, findings      the result in numbers and sentences
"""
