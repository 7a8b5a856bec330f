"""How two networks decide on the same images: what ``behaviour`` measures beyond accuracy.

agreement      do they give the same answers, and err on the same images, more than their accuracies make them?
sensitivity    how margin and accuracy change with each latent
attribution    which part of one stimulus a decision rests on: occlusion, and gradient times input
stimuli        the stimuli that are shown: where the two disagree, and those that are looked into
comparison     all of these measured in one go
facts          all of it in one value
findings       what differs, in sentences, estimates and checks
"""
