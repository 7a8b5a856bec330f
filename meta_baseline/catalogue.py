"""What there is to analyse: every analysis with its flag, its question, how it is run, drawn and tabulated."""

from __future__ import annotations

from meta_baseline import analysis_runs
from meta_baseline.figures import activations, adaptation, arms, autoencoders, behaviour, probes, training, weights
from meta_baseline.stages import Analysis
from meta_baseline.tables.activations import tabulate_activations
from meta_baseline.tables.adaptation import tabulate_adaptation
from meta_baseline.tables.arms import tabulate_arms
from meta_baseline.tables.autoencoders import tabulate_autoencoders
from meta_baseline.tables.behaviour import tabulate_behaviour
from meta_baseline.tables.probes import tabulate_probes
from meta_baseline.tables.training import tabulate_training
from meta_baseline.tables.weights import tabulate_weights

ARMS = Analysis(
    slug="training_arms",
    title="Training, over seeds",
    question="How well did every arm of every seed learn, and does what is said below hold beyond one pair?",
    needs_images=False,
    run=analysis_runs.run_arms,
    figures=arms.FIGURES,
    tabulate=tabulate_arms,
)
"""Only where the networks are those of ``train-pair``, which tested them."""

TRAINING = Analysis(
    slug="training",
    title="Training",
    question="How well did both networks learn, on trained and on held-out tasks, before and after adaptation?",
    needs_images=False,
    run=analysis_runs.run_training,
    figures=training.FIGURES,
    tabulate=tabulate_training,
)
"""Only where the run that trained both networks left its outcome."""

BEHAVIOUR = Analysis(
    slug="behaviour",
    title="Behaviour",
    question="What do the two networks answer on these stimuli?",
    needs_images=True,
    needs_pass=True,
    run=analysis_runs.run_behaviour,
    figures=behaviour.FIGURES,
    tabulate=tabulate_behaviour,
)
"""Not a choice: whoever looks inside two networks on stimuli has to know what they do on them."""

ANALYSES: tuple[Analysis, ...] = (
    Analysis(
        slug="weight_analysis",
        flag="--analyze-weights",
        title="Weight space",
        question="How do the weights differ, once units are matched and the initialisation is taken into account?",
        needs_images=False,
        run=analysis_runs.run_weights,
        figures=weights.FIGURES,
        tabulate=tabulate_weights,
    ),
    Analysis(
        slug="activation_analysis",
        flag="--analyze-activations",
        title="Activations",
        question="Do the two networks represent the stimuli alike, layer by layer, beyond what any network would?",
        needs_images=True,
        needs_pass=True,
        run=analysis_runs.run_activations,
        figures=activations.FIGURES,
        tabulate=tabulate_activations,
    ),
    Analysis(
        slug="autoencoder_analysis",
        flag="--train-autoencoders",
        title="Sparse autoencoders",
        question="Which sparse features are the activations made of, and do the two networks share them?",
        needs_images=True,
        needs_pass=True,
        run=analysis_runs.run_autoencoders,
        figures=autoencoders.FIGURES,
        tabulate=tabulate_autoencoders,
    ),
    Analysis(
        slug="probe_analysis",
        flag="--probe-representations",
        title="Probes",
        question="What can be read from each layer, linearly and not, and is it more than an untrained layer gives?",
        needs_images=True,
        needs_pass=True,
        run=analysis_runs.run_probes,
        figures=probes.FIGURES,
        tabulate=tabulate_probes,
    ),
    Analysis(
        slug="adaptation_analysis",
        flag="--analyze-adaptation",
        title="Adaptation",
        question="What does adaptation to a few labelled images change: which layers learn, and which are reused?",
        needs_images=True,
        may_be_left_out=True,
        run=analysis_runs.run_adaptation,
        figures=adaptation.FIGURES,
        tabulate=tabulate_adaptation,
    ),
)
"""What ``--run-all`` runs, in the order of the report; flags, sections and folders all follow from this tuple."""

SECTIONS = (ARMS, TRAINING, BEHAVIOUR, *ANALYSES)
"""Everything that a report can hold, in its order."""
