"""The properties that a trained model is checked against, and their bounds."""

from typing import TYPE_CHECKING, Literal, get_args

from cortexzoo.specs.plugins import added_properties
from cortexzoo.specs.property_info import PropertyInfo
from cortexzoo.specs.provenance import OURS, PHASE_1, Source

PropertyName = Literal[
    "causality", "batch_isolation", "repeatability", "forward_matches_a_reference", "sampling_follows_its_settings",
    "weights_start_as_specified", "operators_match_formulas", "mistakes_are_refused", "finite_gradients",
    "every_parameter_learns", "gate_balance", "bounded_loss_ratio", "better_than_counting", "chunk_invariance",
    "any_shape_works", "own_token_counts", "determinism", "save_and_load", "padding_changes_nothing", "linear_time",
    "linear_memory", "state_is_detached", "every_switch_counts", "memory_is_bounded", "oldest_is_evicted",
    "stored_is_found", "memory_matters", "length_times_eight", "no_dead_column", "resume_is_exact",
    "processes_train_as_one",
    "refusals_leave_no_trace", "loss_is_of_the_next_token", "steps_match_a_reference", "rollback_restores_everything",
    "continual_training_follows_its_rules", "guards_follow_their_rules", "own_loop_follows_its_guards",
    "intervals_are_kept",
    "data_is_served_once_an_epoch", "orders_visit_each_window_once", "text_is_kept_whole",
    "answers_follow_from_documents",
    "checkpoints_survive_interruption", "held_out_is_measured_whole", "measuring_changes_nothing", "best_is_the_best",
    "results_are_of_the_record", "curves_match_a_reference", "sleep_matches_a_reference", "every_field_counts",
    "no_nan_after_sleep", "sleep_harms_nothing", "any_order_works", "reach_is_as_stated", "base_is_frozen",
    "state_norm_is_bounded", "gradients_reach_the_facts", "recall_is_trained_as_specified", "recall_beats_controls",
    "recall_survives_distractors", "sleep_consolidates", "old_facts_are_kept", "slow_store_follows_its_formulas",
    "drift_is_measured", "each_memory_is_worth_it", "memory_is_not_a_crutch", "no_own_occurrence",
]  # fmt: skip
ADDED = added_properties(get_args(PropertyName))
"""Those of plugins, which no shipped suite names."""
if not TYPE_CHECKING:
    PropertyName = Literal[(*get_args(PropertyName), *ADDED)]
PROPERTY_NAMES: tuple[PropertyName, ...] = get_args(PropertyName)

Verdict = Literal["pass", "fail", "error", "skipped"]


_PRECISION = Source("rounding of float32 on a CPU", "ours")

PROPERTIES: dict[PropertyName, PropertyInfo] = {
    "causality": PropertyInfo(
        "editing later tokens leaves earlier logits as they were", 0.0, "at_most", "max |Δ logit|",
        _PRECISION, version=2,
    ),
    "batch_isolation": PropertyInfo(
        "a row's logits and gradients ignore the other rows", 0.0, "at_most", "max |Δ logit|",
        _PRECISION, version=2,
    ),
    "repeatability": PropertyInfo(
        "evaluating twice gives the same logits and leaves weights and memory as they were",
        0.0, "at_most", "max |Δ logit|", OURS, version=2,
    ),
    "forward_matches_a_reference": PropertyInfo(
        "logits, memory, readings and gradients are those of a form written out token by token",
        1e-5, "at_most", "difference / largest", Source("rounding of float32: angles and counts of reads", "ours"),
    ),
    "sampling_follows_its_settings": PropertyInfo(
        "tokens are drawn as temperature, the k likeliest, vocabulary, seed and memory say", 7.0, "at_most",
        "standard deviations", Source("one in a million for each count of a seed", "ours"),
    ),
    "weights_start_as_specified": PropertyInfo(
        "a fresh model's weights have the shapes, values and distributions that its spec says", 7.0, "at_most",
        "standard deviations", Source("one in a million for all weights together", "ours"),
    ),
    "operators_match_formulas": PropertyInfo(
        "the gated delta rule, attention over a window and columns give what their formulas give", 1e-9, "at_most",
        "difference / largest", Source("rounding of float64", "ours"),
    ),
    "mistakes_are_refused": PropertyInfo(
        "what does not fit is refused in one line, and what only just fits is not", 0.0, "at_most", "mistakes", OURS,
    ),
    "finite_gradients": PropertyInfo(
        "loss and gradients are finite at every tried length", 0.0, "at_most", "non-finite values", OURS, version=2,
    ),
    "every_parameter_learns": PropertyInfo(
        "every trainable parameter gets a gradient", 0.0, "at_most", "parameters without gradient", OURS, version=2,
    ),
    "gate_balance": PropertyInfo(
        "each live source keeps a mean gate share", 0.05, "at_least", "smallest mean share",
        Source("balanced contributions, CortexGPT Phase 1 stability document", "user"),
    ),
    "bounded_loss_ratio": PropertyInfo(
        "the probe loss never rises far above the lowest value before it", 1.5, "below", "loss ratio", PHASE_1
    ),
    "better_than_counting": PropertyInfo(
        "the loss on the test part is below that of the best interpolated n-gram model of the training part", 0.0,
        "below", "nats above n-gram", OURS, version=2,
    ),
    "chunk_invariance": PropertyInfo(
        "a sequence in pieces, its memory carried, gives what the whole gives", 1e-5, "at_most", "max |Δ output|",
        _PRECISION, version=2,
    ),
    "any_shape_works": PropertyInfo(
        "any sequence of calls with other batch sizes and lengths works", 0.0, "at_most", "calls that failed",
        OURS, version=2,
    ),
    "own_token_counts": PropertyInfo(
        "every token can influence its own output", 0.0, "at_most", "tokens without influence", OURS
    ),
    "determinism": PropertyInfo(
        "the same seed gives the same weights, outputs and gradients", 0.0, "at_most", "max |Δ|", OURS
    ),
    "save_and_load": PropertyInfo(
        "a model and its memory work the same after saving and loading", 0.0, "at_most", "max |Δ|", OURS
    ),
    "padding_changes_nothing": PropertyInfo(
        "padding moves no output of a real token", 1e-5, "at_most", "max |Δ output|", _PRECISION, version=2,
    ),
    "linear_time": PropertyInfo(
        "time grows linearly with length", 1.2, "at_most", "log-log slope", OURS, version=2,
    ),
    "linear_memory": PropertyInfo(
        "memory of a training pass grows linearly with length", 1.2, "at_most", "log-log slope",
        OURS, version=2,
    ),
    "state_is_detached": PropertyInfo(
        "the memory after a call is detached from the call's graph", 0.0, "at_most", "attached tensors", OURS
    ),
    "every_switch_counts": PropertyInfo(
        "switching off any memory changes the output", 0.0, "at_most", "switches without effect", OURS
    ),
    "memory_is_bounded": PropertyInfo(
        "memory never takes more bytes than its capacities allow", 1.0, "at_most", "share of the cap", OURS
    ),
    "oldest_is_evicted": PropertyInfo(
        "a full memory drops what was written first", 0.0, "at_most", "misplaced entries", OURS
    ),
    "stored_is_found": PropertyInfo(
        "a search finds the nearest stored entries", 0.95, "at_least", "recall",
        OURS,
    ),
    "memory_matters": PropertyInfo(
        "a trained model is worse with its memory switched off", 0.0, "below", "nats above no memory", OURS
    ),
    "length_times_eight": PropertyInfo(
        "eight times the training length leaves the loss finite and near", 1.5, "at_most", "loss ratio",
        OURS,
    ),
    "no_dead_column": PropertyInfo(
        "every column adds at least a quarter of an equal share to the output", 0.25, "at_least",
        "least share, 1 = equal", OURS, version=2,
    ),
    "resume_is_exact": PropertyInfo(
        "training that was stopped and resumed equals training that was not", 0.0, "at_most", "differences", OURS
    ),
    "processes_train_as_one": PropertyInfo(
        "several processes, and those that resume a run of another number, train as one does", 1e-3, "at_most",
        "difference / change", Source("a hundred times the rounding of sums in another order", "ours"),
    ),
    "refusals_leave_no_trace": PropertyInfo(
        "a step with a non-finite gradient is refused and changes nothing", 0.0, "at_most", "traces", OURS
    ),
    "loss_is_of_the_next_token": PropertyInfo(
        "the reported loss is that of the next token", 1e-4, "at_most", "|Δ| nats", OURS
    ),
    "steps_match_a_reference": PropertyInfo(
        "training steps are those of an independent loop: decay, rates, clipping, accumulation, refusals, memory",
        1e-3, "at_most", "difference / change", _PRECISION,
    ),
    "rollback_restores_everything": PropertyInfo(
        "after a rollback training is that of an independent loop that returned to its copy",
        1e-3, "at_most", "difference / change", _PRECISION,
    ),
    "continual_training_follows_its_rules": PropertyInfo(
        "of one text after another, rows, losses and protected weights are those of an independent loop",
        1e-3, "at_most", "difference / change", _PRECISION,
    ),
    "guards_follow_their_rules": PropertyInfo(
        "scripted losses and gradients are refused, rolled back and counted as the guards' rules require",
        0.0, "at_most", "differences", OURS,
    ),
    "own_loop_follows_its_guards": PropertyInfo(
        "the guards around a loop of one's own take, refuse and undo the steps that they should, and tell of them",
        0.0, "at_most", "steps", OURS,
    ),
    "intervals_are_kept": PropertyInfo(
        "consolidation, sleep, probe, validation and checkpoints come exactly when they are due",
        0.0, "at_most", "differences", OURS,
    ),
    "data_is_served_once_an_epoch": PropertyInfo(
        "each training window comes once an epoch, in an order of seed and epoch, and nothing held out is trained on",
        0.0, "at_most", "differences", OURS,
    ),
    "orders_visit_each_window_once": PropertyInfo(
        "whatever the size of texts, documents and mixtures, each window comes once an epoch, in an order of its own",
        0.0, "at_most", "differences", OURS,
    ),
    "text_is_kept_whole": PropertyInfo(
        "the three parts make up the text, tokens spell it, and losses of counting are right by the byte",
        0.0, "at_most", "mistakes", OURS,
    ),
    "answers_follow_from_documents": PropertyInfo(
        "of every task, documents have the facts, gap and filler that the spec says, and the answers that follow",
        0.0, "at_most", "mistakes", OURS,
    ),
    "checkpoints_survive_interruption": PropertyInfo(
        "a checkpoint survives an interrupt at any file operation; one that is damaged or of another model is refused",
        0.0, "at_most", "mistakes", OURS,
    ),
    "held_out_is_measured_whole": PropertyInfo(
        "held-out losses are those of all held-out text, in evaluation mode, measured again",
        1e-4, "at_most", "relative error", OURS,
    ),
    "measuring_changes_nothing": PropertyInfo(
        "training that is probed, validated and saved at every step equals training that is not",
        0.0, "at_most", "differences", OURS,
    ),
    "best_is_the_best": PropertyInfo(
        "the best checkpoint is that of the lowest held-out loss", 0.0, "at_most", "differences", OURS
    ),
    "results_are_of_the_record": PropertyInfo(
        "reported swings, best validation and what counting reaches are those of the record and the text",
        1e-6, "at_most", "relative difference", Source("rounding of float64 sums", "ours"),
    ),
    "curves_match_a_reference": PropertyInfo(
        "recorded variance, spike score, readings and updates, and what homeostasis adds, equal those computed again",
        1e-4, "at_most", "relative difference", Source("rounding of float32 sums", "ours"),
    ),
    "sleep_matches_a_reference": PropertyInfo(
        "a sleep makes the updates of an independent loop on the same dreams, and is undone when it must be",
        1e-3, "at_most", "difference / change", OURS,
    ),
    "every_field_counts": PropertyInfo(
        "every value of recipe and variant changes the training", 0.0, "at_most", "fields without effect", OURS
    ),
    "no_nan_after_sleep": PropertyInfo(
        "a sleep makes the updates that it counts, and all is finite in it and in the steps after it",
        0.0, "at_most", "faults", Source("required of the user's Cortex v2 run", "user"),
    ),
    "sleep_harms_nothing": PropertyInfo(
        "a sleep that stays keeps held-out loss and recall, and one that does not leaves every bit as it was",
        1.02, "at_most", "held-out loss ratio", OURS, version=2,
    ),
    "any_order_works": PropertyInfo(
        "training, faults, evaluating, consolidating, resetting, saving and loading in any order leave a sound state",
        0.0, "at_most", "broken rules", OURS,
    ),
    "reach_is_as_stated": PropertyInfo(
        "without its fast weights a hybrid sees as far back as it states, and no token further", 0.0, "at_most",
        "tokens", OURS,
    ),
    "base_is_frozen": PropertyInfo(
        "a fresh model and one without its memories are the base, and training leaves the base as it was",
        0.0, "at_most", "differences", OURS,
    ),
    "state_norm_is_bounded": PropertyInfo(
        "fast weights stay within what the writes can have added, however long the noise",
        1.0, "at_most", "share of the bound",
        Source("norm of the gated delta rule's state with unit keys, docs/harness.md", "ours"),
    ),
    "gradients_reach_the_facts": PropertyInfo(
        "the loss of an answer has a gradient at facts of an earlier chunk", 0.0, "at_most", "documents without", OURS
    ),
    "recall_is_trained_as_specified": PropertyInfo(
        "stages, documents of a step, losses of answers and what guards the base are those of the spec",
        0.0, "at_most", "mistakes", OURS,
    ),
    "recall_beats_controls": PropertyInfo(
        "over the longest gap trained on, the memory answers nearly all, and chance and the model without it do not",
        0.9, "at_least", "share of answers", OURS, version=2,
    ),
    "recall_survives_distractors": PropertyInfo(
        "facts are answered whatever fills the gap: noise, seen or not, text, further facts, or keys near theirs",
        0.9, "at_least", "share of answers", OURS,
    ),
    "sleep_consolidates": PropertyInfo(
        "a sleep moves a day's facts into a slow store: with the memory wiped they are answered, and no other keys",
        0.95, "at_least", "share of answers", OURS, version=2,
    ),
    "old_facts_are_kept": PropertyInfo(
        "facts that an earlier sleep consolidated are answered after the sleep that consolidates others",
        0.9, "at_least", "share of answers", OURS, version=2,
    ),
    "slow_store_follows_its_formulas": PropertyInfo(
        "what a sleep leaves in the slow store, and what it then answers, are those of the written-out formulas",
        1e-5, "at_most", "difference / largest", Source("inverses in float64", "ours"),
    ),
    "drift_is_measured": PropertyInfo(
        "the reported drift is that of the model, against the base before training", 1e-4, "at_most",
        "relative error", OURS,
    ),
    "each_memory_is_worth_it": PropertyInfo(
        "an equal model trained without a memory does worse on the test part, beyond the spread of seeds",
        3.0, "at_least", "standard deviations", OURS,
    ),
    "memory_is_not_a_crutch": PropertyInfo(
        "with long-term memory switched off the model is nearly as good as one trained without it",
        0.1, "at_most", "nats above training without", OURS,
    ),
    "no_own_occurrence": PropertyInfo(
        "in training a place finds nothing of itself in memory", 1e-5, "at_most", "max |Δ log p|", _PRECISION
    ),
}  # fmt: skip
PROPERTIES |= {name: added.info for name, added in ADDED.items()}  # type: ignore[misc]

RATIO_BOUND = PROPERTIES["bounded_loss_ratio"].bound
"""Below which a loss ratio counts as stable."""
