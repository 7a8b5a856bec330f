"""Training networks that differ in one thing only: how a step is taken.

recipe       Recipe                        everything that fixes a run's result
recipes      RECIPES                       runs that have a name: functions that return a recipe
pools        prepare_pool                  the images of a recipe, to train on and to watch
objectives   classification_loss           the loss that trains exactly the logits that decide
pool_images  PoolImages                    rows of the training pool -> augmented network inputs
baseline     BaselineLearner               a step on a batch of mixed tasks
meta         MetaLearner                   a step on episodes, through ``inner_loop``: MAML, FOMAML, ANIL, matched
reptile      ReptileLearner                a step on episodes, along the inner loop
protonet     ProtoNetLearner               a step on episodes, through class means
loop         train                         recipe and pool -> checkpoints and learning curve
optimiser    Optimiser                     orthogonalised momentum for hidden weights, AdamW for the rest
saving       write_state, read_state       what a run leaves, and the state that a killed one goes on from
guards       RunOutcome                    what would make an accuracy meaningless
pair         train_pair, train_arms        arms side by side, one process each
answers      answer_queries                one network, one task: as it is, adapted, batch norm refitted
own_rate     find_own_rate                 the inner rate that suits a network
verdicts     compare_arms, check_networks  what the accuracies allow one to say
evaluation   evaluate_networks             accuracy on trained and held-out tasks, before and after adaptation
arm_accuracy measure_arm                   one arm on every task, by every test
pair_evaluation measure_arms               every arm of every seed, a process for each
contrasts    list_contrasts                differences of arms over seeds; which are tested
arms_checks  check_arms, check_rates       what may forbid a comparison of arms, or limit it
arms_outcome contrast_arms                 every arm beside its controls, over paired seeds
"""
