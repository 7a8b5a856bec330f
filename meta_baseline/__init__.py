"""A meta-learned network and its conventionally trained baseline, side by side.

The way of one value through the package, which is also the order of imports::

    checkpoint  ->  model  ->  layers  ->  activations  ->  analysis  ->  result  ->  figure, table  ->  report

    checkpoints.load_models          two checkpoint files      -> two networks
    layers.pair_layers               two networks              -> layers paired by role
    datasets.read_stimuli            a folder of images        -> images, labels, latents
    activations.collect_store        a network over the images -> reduced activations
    weight_analysis, activation_analysis,
    sparse_autoencoders, probing     values                    -> one frozen result each
    figures, tables, report          a result                  -> what a person reads
    pipeline.run_study               a Study                   -> all of it, in one screen of code

Importing the package loads nothing heavy; import the module that you need.
"""

__version__ = "0.1.0"
