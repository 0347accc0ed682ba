"""Defects of what properties write out again: fresh weights, limits, sampling, texts, orders, results, sleep."""

from collections.abc import Callable
from typing import Any

from cortexzoo.harness.checking.mutants.base import Host, Mutant, in_source
from cortexzoo.specs.properties import PropertyName
from cortexzoo.zoo import checkpoints, generation
from cortexzoo.zoo.checkpoints import CheckpointReader
from cortexzoo.zoo.data import ngrams, reference, text_vocabulary
from cortexzoo.zoo.data.mixed_order import MixedOrder
from cortexzoo.zoo.data.order import DocumentOrder
from cortexzoo.zoo.data.text import TextData
from cortexzoo.zoo.memory import short_term
from cortexzoo.zoo.models import own_module, probing
from cortexzoo.zoo.models.columns import Columns
from cortexzoo.zoo.models.hybrid.block import Sidecar
from cortexzoo.zoo.models.hybrid.model import Hybrid
from cortexzoo.zoo.models.hybrid.short_conv import ShortConv
from cortexzoo.zoo.models.hybrid.slow_store import SlowStore
from cortexzoo.zoo.models.transformer import Transformer
from cortexzoo.zoo.ops import recurrent_gated_delta, sliding_window, unit_lower_inverse
from cortexzoo.zoo.training import optimizer
from cortexzoo.zoo.training.loop import TrainingLoop
from cortexzoo.zoo.training.objectives.continual import ContinualObjective, EarlierSelf
from cortexzoo.zoo.training.objectives.curriculum import Curriculum
from cortexzoo.zoo.training.objectives.protection import FollowingSlowly, RatesByImportance
from cortexzoo.zoo.training.objectives.recall_objective import RecallObjective
from cortexzoo.zoo.training.objectives.replay import KeptWindows, Replay
from cortexzoo.zoo.training.policies import homeostasis
from cortexzoo.zoo.training.policies.homeostasis import Homeostasis
from cortexzoo.zoo.training.policies.measuring.probe import Probe
from cortexzoo.zoo.training.policies.measuring.stability import StabilityMonitor, UpdateSize
from cortexzoo.zoo.training.state import snapshot

HOST: Host = "cortexgpt"
CONTROL: Host = "transformer"
HYBRID: Host = "hybrid"
BOTH_TEXTS: Host = "continual"


def _caught_by(by: PropertyName, host: Host) -> Callable[..., Mutant]:
    """Makes mutants of one host for one property: of a name, a defect, the owner of a function, and its change."""

    def make(name: str, defect: str, owner: Any, function: str, old: str, new: str) -> Mutant:
        return in_source(name, host, defect, owner, function, old, new, by=by)

    return make


_sampled = _caught_by("sampling_follows_its_settings", HOST)
_continual = _caught_by("continual_training_follows_its_rules", BOTH_TEXTS)
_told = _caught_by("results_are_of_the_record", CONTROL)
_recorded = _caught_by("curves_match_a_reference", HOST)
_kept = _caught_by("checkpoints_survive_interruption", CONTROL)
_spelled = _caught_by("text_is_kept_whole", CONTROL)
_asked = _caught_by("recall_is_trained_as_specified", HYBRID)
_ordered = _caught_by("orders_visit_each_window_once", CONTROL)
_stored = _caught_by("slow_store_follows_its_formulas", HYBRID)
_computed = _caught_by("operators_match_formulas", CONTROL)
_reached = _caught_by("reach_is_as_stated", HYBRID)
_refused = _caught_by("mistakes_are_refused", CONTROL)
_begun = _caught_by("weights_start_as_specified", HOST)

WRITTEN_OUT_MUTANTS = (
    _sampled("temperature-upside-down", "logits are multiplied by the temperature", generation, "_sample",
             "logits / temperature", "logits * temperature"),
    _sampled("one-token-too-few", "of the k likeliest tokens the last is never drawn", generation, "_sample",
             "logits < least", "logits <= least"),
    _sampled("sampling-forgets", "each new token is drawn as if it stood after the prompt's memory", generation,
             "generate", "    state = output.state", "    state = state"),
    _sampled("sampling-with-dropout", "the model stays in training mode", generation, "generate", "evaluating(model), ",
             ""),
    _sampled("sampling-ignores-its-seed", "every seed draws the same tokens", generation, "generate",
             "manual_seed(seed)", "manual_seed(0)"),
    _continual("replays-what-was-never-read", "windows are kept that were not trained on", KeptWindows, "__init__",
               "choice(trained_on,", "choice(2 * trained_on,"),
    _continual("replays-one-window", "the same window is read again in every step", Replay, "drawn",
               "self.kept, self.rows", "self.kept[:1], self.rows"),
    _continual("earlier-self-too-early", "the model stays near itself a step before the earlier text ends", EarlierSelf,
               "_look", "step.number !=", "step.number + 1 !="),
    _continual("divergence-unweighted", "the weight of the divergence from the earlier self is 1", ContinualObjective,
               "loss", "self.replay.kl_weight * apart", "apart"),
    _continual("earlier-loss-of-validation", "the validation part is reported as the test part", ContinualObjective,
               "test_loss", '"test"', '"validation"'),
    _continual("importance-of-no-size", "rates fall with the gradients' size, not with their share", RatesByImportance,
               "step_taken", "/ max(mean, 1e-30)", ""),
    _told("ratio-over-one-step", "a swing counts from one probe to the next only", Probe, "_probe",
          "step.number - self.window]", "step.number]"),
    _told("counts-without-distinct", "longer contexts weigh too much", ngrams._Counts, "interpolated",
          "count + distinct * shorter", "count + shorter"),
    _told("bigrams-of-the-second-byte", "pairs are normalised over the byte before", reference, "losses_at",
          "axis=1, keepdims=True", "axis=0, keepdims=True"),
    _ordered("epochs-of-documents-alike", "all epochs have one order", DocumentOrder, "starts",
             "self.seed, int(epoch)", "self.seed, 0"),
    _ordered("mixture-in-one-text", "windows of every text are taken from the first", MixedOrder, "starts",
             "offsets[text] + start", "start"),
    _stored("products-of-one-channel", "a product takes its second channel twice", SlowStore, "features",
            "self.channels[0]", "self.channels[1]"),
    _stored("old-values-stay", "the old value of a key that is bound anew is not taken out", SlowStore, "absorb",
            "if known.any():", "if False:"),
    _stored("unknown-is-answered", "what is novel is answered, what is known is not", SlowStore, "forward",
            "novelty < self.threshold", "novelty > self.threshold"),
    _continual("follower-leads", "the slow learner takes the fast one's part", FollowingSlowly, "_follow",
               "then.lerp(now, self.spec.rate)", "now.lerp(then, self.spec.rate)"),
    _recorded("variance-of-all-losses", "the recorded variance is that of all losses", StabilityMonitor, "step_taken",
              "step.loss][-WINDOW:]", "step.loss]"),
    _recorded("spikes-of-taken-steps", "refused losses are no spikes", StabilityMonitor, "step_refused",
              "self._score(step)", "pass"),
    _recorded("readings-of-one-part", "a step records the readings of its last micro-batch", TrainingLoop, "_know_loss",
              "for m in measured if", "for m in measured[-1:] if"),
    _recorded("update-of-few-weights", "the size of an update is that of the first weights", UpdateSize,
              "gradients_known", "Movement(trainer.trainable)", "Movement(trainer.trainable[:1])"),
    _recorded("homeostasis-closes", "what is used too little is closed", homeostasis, "_scale",
              "target / used.clamp_min(1e-12)", "used.clamp_min(1e-12) / target"),
    _recorded("homeostasis-spares-the-gate", "sources of the gate are never opened", Homeostasis, "step_taken",
              "_scale(gate.linear.bias, sources,", "_scale(gate.linear.bias, sources * 0 + 1,"),
    _kept("replaced-before-it-is-complete", "the checkpoint before is removed first", checkpoints, "_take_its_place",
          "folder.rename(previous)", "shutil.rmtree(folder)"),
    _kept("sums-are-not-looked-at", "a damaged file of a checkpoint is read", CheckpointReader, "verified",
          "!= self.sums[file]", "== 'other'"),
    _kept("weights-of-another-model", "weights that a model lacks are left out", checkpoints, "set_weights",
          "set(required) ^ set(weights)", "set(required) - set(weights)"),
    _kept("one-too-few-stay", "pruning removes one checkpoint too many", checkpoints, "prune",
          "len(found) - keep", "len(found) - keep + 1"),
    _kept("pruned-where-few-are", "where fewer checkpoints are than may stay, some are removed", checkpoints, "prune",
          "max(0, len(found) - keep)", "len(found) - keep"),
    _spelled("cut-one-later", "parts are cut a character too late", TextData, "from_spec",
             "character_start(content, place)", "character_start(content, place + 1)"),
    _spelled("characters-for-bytes", "characters of a part are counted, not bytes", TextData, "from_parts",
             "len(part)", "len(part.decode())"),
    _spelled("blanks-as-they-are-written", "a blank of SentencePiece stays another letter", text_vocabulary,
             "_of_sentence_piece", '.replace(SPACE, " ")', ""),
    _spelled("counting-begins-too-late", "counting knows nothing of what stands before a window", TextData,
             "reference_losses", "text[max(0, start - BEFORE)", "text[max(0, start)"),
    _asked("promoted-by-one-gap", "a stage ends as soon as one of its gaps is learned", Curriculum, "_learned",
           "return all(", "return any("),
    _asked("counts-from-the-beginning", "a stage's steps are counted from the first of all", Curriculum, "_go_on",
           "(step.number - self.began)", "step.number"),
    _asked("guard-unweighted", "what guards the base has a weight of 1", RecallObjective, "loss",
           "guard.weight * guarded", "guarded"),
    _asked("one-document-too-many", "a step has more documents than fit", RecallObjective, "_rows",
           "tokens // self.task.length(gap)", "tokens // self.task.length(gap) + 1"),
    _computed("scaled-by-heads", "by default the token loop scales by the number of heads", recurrent_gated_delta,
              "recurrent_gated_delta_rule", "k.shape[-1] ** -0.5", "k.shape[-2] ** -0.5"),
    _computed("mask-of-a-wider-window", "the masked form sees a token more than the window", sliding_window,
              "masked_window_attention", "key <= query - window_size", "key < query - window_size"),
    _computed("chunks-of-powers-of-two", "the inverse is cut wrongly where a chunk is no power of two",
              unit_lower_inverse, "unit_lower_inverse", "[:, :size, :size]", "[:, -size:, -size:]"),
    _reached("reach-of-a-shorter-filter", "the stated reach lacks a token of the convolution", Hybrid,
             "receptive_field", "kernel_size - 1", "kernel_size - 2"),
    _reached("reach-of-one-sidecar", "the stated reach is that of one sidecar, however many there are", Hybrid,
             "receptive_field", "len(self.sidecars) * ", ""),
    _refused("window-without-its-target", "a text may be as long as a window without its last target", TextData,
             "require", "< sequence_length + 1", "< sequence_length"),
    _refused("a-step-too-many", "a checkpoint may count one step more than there are", snapshot, "_described", "> last",
             "> last + 1"),
    _refused("in-two-groups", "a parameter may be in two groups", optimizer, "_check_partition",
             "len(grouped) != len(set(grouped))", "False"),
    _refused("deaf-at-the-end", "whether a base's last layer is heard is not tried", probing, "prove",
             "{0, len(places.layers) - 1}", "{0}"),
    _refused("tried-with-one-token", "a module of one's own is tried with one token", own_module, "own_model",
             "torch.zeros(1, 2,", "torch.zeros(1, 1,"),
    _begun("mixer-of-one-column", "the mixer's weights are drawn as if it read one column", Columns, "reset_parameters",
           "(self.mix_weight, n * d)", "(self.mix_weight, d)"),
    _begun("heads-fade-alike", "at the start all heads forget equally fast", short_term, "_spread_recency", "** place",
           "** (0 * place + 0.5)"),
    in_source("embedding-of-one", CONTROL, "the embedding is drawn with a standard deviation of 1", Transformer,
              "__init__", "std=spec.embedding_std", "std=1.0", by="weights_start_as_specified"),
    in_source("queries-of-their-own", HYBRID, "queries do not start equal to keys", Sidecar, "__init__",
              "self.query.weight.copy_(self.key.weight)", "pass", by="weights_start_as_specified"),
    in_source("queries-as-late-as-keys", HYBRID, "queries start as many tokens late as keys", ShortConv, "__init__",
              "(lags - 1).clamp_min(0)", "lags", by="weights_start_as_specified"),
)  # fmt: skip
