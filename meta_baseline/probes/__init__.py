"""The rooms behind ``probing``: what a probe is asked, how it is split, solved, scored and put into words.

    targets     label and latents as columns a probe can predict
    folds       who is trained on and who is tested; control labels, permuted labels
    eigenbasis  a layer's features, standardised and rotated once per training split
    logistic    many L2 logistic regressions at once, to optimality     classifier  ... with the penalty chosen
    ridge       many ridge regressions at once, in closed form          mlp         the non-linear probe
    layer       the unit of work: one layer in, out-of-fold predictions of everything out
    study       what all layers share, and the loop over them
    scores      accuracy, bits, AUC, R^2 per image and per layer        bootstrap   intervals over identities
    result      the arrays of a ProbeResult                             assembly    readouts -> those arrays
    estimates, checks, findings     the arrays in words

Letters beside those of ``shapes``: Q directions of an eigenbasis, B regressions solved together, T targets,
V penalties, G groups (shape identities), D features; N1 training and N2 test images.
"""
