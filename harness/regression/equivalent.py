# ruff: noqa: E501 - names are as the campaign prints them
"""Changes made by machine that change nothing anybody could see, each with the reason: they are not counted."""

from cortexzoo.harness.checking.mutants.generated import Site

ANOTHER_ORDER = "another order that follows from the seed, as good as this one"
WITHOUT_GRADIENT = "nothing is differentiated there, or it has no gradient"
MORE_WORK = "the same results by more work"
EQUIVALENT: dict[str, str] = {
    "zoo.data.permutation permuted: off by one, 1 → 2 (5)": ANOTHER_ORDER,
    "zoo.data.permutation permuted: off by one, 2 → 3": ANOTHER_ORDER,
    "zoo.data.permutation permuted: off by one, 63 → 64": ANOTHER_ORDER,
    "zoo.training.sleep.policy Sleep.keep_examples: swap arguments, Stream.RESERVOIR.generator(self.seed, step.number) → Stream.RESERVOIR.generator(step.number, self.seed)": ANOTHER_ORDER,
    "zoo.training.objectives.replay Replay.drawn: swap arguments, Stream.REPLAY.generator(seed, place) → Stream.REPLAY.generator(place, seed)": ANOTHER_ORDER,
    "zoo.training.policies.checkpointing KeepCheckpoints._save_last: flip comparison, self.keep_last > 1 → self.keep_last >= 1": "what is kept too much is removed at once",
    "zoo.models.cortexgpt decayed_sinusoid: detach, return waves * torch.exp(-decay * t) → return (waves * torch.exp(-decay * t)).detach()": WITHOUT_GRADIENT,
    "zoo.ops.gated_delta chunk_gated_delta_rule: drop a term, k.shape[1] == 1 and (not torch.is_grad_enabled()) → k.shape[1] == 1": MORE_WORK,
    "zoo.ops.sliding_window sliding_window_attention: drop a term, -(window_size - 1) // block → -(window_size - 1)": MORE_WORK,
    "zoo.ops.sliding_window _check_inputs: swap arguments, check_shapes(q, k, v) → check_shapes(k, q, v)": "both have the same shape, or are refused",
    "zoo.memory.contexts.codes contexts_of: detach, return windows[:, before.shape[1]:] → return windows[:, before.shape[1]:].detach()": WITHOUT_GRADIENT,
    "zoo.ops.unit_lower_inverse unit_lower_inverse: detach, return inverse → return inverse.detach()": WITHOUT_GRADIENT,
    "zoo.ops.unit_lower_inverse unit_lower_inverse: detach, return unit_lower_inverse(pad(strictly_lower, (0, extra, … → return unit_lower_inverse(pad(strictly_lower, (0, extra, …": WITHOUT_GRADIENT,
    "zoo.ops.unit_lower_inverse _invert_leaves: detach, return inverse → return inverse.detach()": WITHOUT_GRADIENT,
    "zoo.ops.unit_lower_inverse _join_pairs: detach, return joined.view(count, 2 * block, 2 * block) → return joined.view(count, 2 * block, 2 * block).detach()": WITHOUT_GRADIENT,
    "zoo.training.sleep.phase SleepPhase._logits_before: detach, return logits → return logits.detach()": WITHOUT_GRADIENT,
    "zoo.ops.sliding_window masked_window_attention: swap arguments, compute_dtype(q, keys, values) → compute_dtype(keys, q, values)": "the widest of all, in any order",
    "zoo.data.permutation _through: skip a statement, mixed ^= mixed >> np.uint64(29) → pass": ANOTHER_ORDER,
    "zoo.data.permutation _through: skip a statement, mixed *= MIX → pass": ANOTHER_ORDER,
    "zoo.training.state.regrouped own_random_state: swap arguments, Stream.DROPOUT.seeds(seed, rank) → Stream.DROPOUT.seeds(rank, seed)": "another random state that follows from the seed, as good as this one",
    "zoo.data.mixed_order _block: swap arguments, Stream.TEXT.generator(seed, block, 3) → Stream.TEXT.generator(block, seed, 3)": ANOTHER_ORDER,
    "zoo.training.objectives.samples SampleLog.note: detach, return right.mean() if len(right) else right.new_zeros(()) → return (right.mean() if len(right) else right.new_zeros((…": WITHOUT_GRADIENT,
    "zoo.training.policies.checkpointing KeepCheckpoints._save_last: drop a term, self.keep_last > 1 and before → self.keep_last > 1": "before the first there is nothing to keep",
    "zoo.ops.spans blocks_in_span: off by one, 1 → 2": MORE_WORK,
    "zoo.ops.spans rows_in_span: off by one, 1 → 2 (2)": "all at once on a GPU in either case",
    "zoo.models.base Base.run: flip comparison, past is not None → past is None": MORE_WORK,
    "zoo.training.sleep.dreams _generated: off by one, 31 → 32": ANOTHER_ORDER,
    "zoo.data.permutation permuted: off by one, 1 → 2 (3)": ANOTHER_ORDER,
    "zoo.memory.band Band.block_steps: drop a term, BLOCK_QUERIES // self.rows → BLOCK_QUERIES": MORE_WORK,
    "zoo.models.probing prove: swap arguments, torch.linspace(-1, 1, width, device=device, dtype=normed.… → torch.linspace(1, -1, width, device=device, dtype=normed.…": "another vector to try a base with, as good as this one",
    "zoo.data.permutation permuted: off by one, 1 → 2 (4)": ANOTHER_ORDER,
    "zoo.ops.masked_columns _MaskedColumns.backward: swap arguments, torch.mul(d_hidden, hidden, out=spare) → torch.mul(hidden, d_hidden, out=spare)": "a product is the same in either order",
    "zoo.memory.contexts.diary Diary.read: flip comparison, (room := (spec.open_length - diary.open.shape[1])) < toke… → (room := (spec.open_length - diary.open.shape[1])) <= tok…": "what is full is taken down a call sooner, and is the same in the pages",
    "zoo.ops.gated_delta_chunks span_backward: off by one, 2 → 3 (4)": "the same sum over two dimensions, the other one first",
    "zoo.ops.gated_delta chunk_gated_delta_rule: off by one, 1 → 2 (3)": MORE_WORK,
    "zoo.checkpoints _json: off by one, 1 → 2": "the same content with another indentation",
    "zoo.ops.recurrent_gated_delta recurrent_gated_delta_rule: swap arguments, compute_dtype(q, k, v) → compute_dtype(k, q, v)": "the widest of all, in any order",
    "zoo.data.text_vocabulary TokenizerVocabulary.bytes_of: off by one, 0 → 1": "of no tokens, one place beside none is none",
    "zoo.data.vocabulary_source _trained: skip a statement, file.parent.mkdir(parents=True, exist_ok=True) → pass": "the lock beside the file makes the folder, too",
    "zoo.models.hybrid.model Hybrid._through: drop a term, self.recompute_activations and torch.is_grad_enabled() → self.recompute_activations": "without gradients nothing is kept in either case",
    "zoo.ops.gated_delta _spans: drop a term, -time // chunk_size → -time": MORE_WORK,
    "zoo.generation _sample: detach, return likeliest → return likeliest.detach()": WITHOUT_GRADIENT,
    "zoo.memory.short_term ShortTermMemory.plan: flip comparison, self.dropout > 0 → self.dropout >= 0": "without dropout all is kept, and multiplied by one",
    "zoo.ops.unit_lower_inverse _along_diagonal: detach, return tiles.diagonal(dim1=1, dim2=3).permute(0, 3, 1, 2) → return tiles.diagonal(dim1=1, dim2=3).permute(0, 3, 1, 2)…": WITHOUT_GRADIENT,
    "zoo.data.permutation permuted: off by one, 1 → 2": ANOTHER_ORDER,
    "zoo.training.policies.guards.agc _unit_norms: flip comparison, tensor.ndim > 1 → tensor.ndim >= 1": "a norm over no named dimension is one over all",
    "zoo.training.policies.guards.recovery Recovery.renewed_at: off by one, 0 → 1": "before training begins nobody asks, and then there is a point",
    "zoo.models.hybrid.one_token FoldedWeights._unit: detach, return x / _norm(x, self.unit_least) → return (x / _norm(x, self.unit_least)).detach()": WITHOUT_GRADIENT,
    "zoo.memory.band Band.fold: detach, return folded.flatten(1)[:, :self.length] → return folded.flatten(1)[:, :self.length].detach()": WITHOUT_GRADIENT,
    "zoo.models.hybrid.slow_store SlowStore.threshold: detach, return self.spec.unknown_from * self.usual → return (self.spec.unknown_from * self.usual).detach()": WITHOUT_GRADIENT,
    "zoo.checkpoints set_back: drop a term, partial_folder(folder) / name → partial_folder(folder)": "the file is copied into the folder, where a link of its name cannot be made",
    "zoo.memory.contexts.read_out ContextReadOut.forward: swap arguments, torch.eq(exact[:, :, None], exact[:, None, :], out=same) → torch.eq(exact[:, None, :], exact[:, :, None], out=same)": "equality is the same in either order",
    "zoo.models.cortexgpt CortexGPT.documents_ended: drop a term, self.contexts is None or not isinstance(state.long_term, … → self.contexts is None": "a model of contexts always has a diary",
    "zoo.ops.gated_delta_chunks to_chunks: detach, return chunked → return chunked.detach()": WITHOUT_GRADIENT,
    "zoo.ops.sliding_window _band_bias: detach, return torch.zeros(hidden.shape, dtype=dtype, device=devi… → return torch.zeros(hidden.shape, dtype=dtype, device=devi…": WITHOUT_GRADIENT,
    "zoo.data.tasks.filler TokenPairFiller.between: off by one, 1 → 2": ANOTHER_ORDER,
    "zoo.ops.gated_delta chunk_gated_delta_rule: swap arguments, check_gated_delta_inputs(q, k, v, g, beta, initial_state,… → check_gated_delta_inputs(k, q, v, g, beta, initial_state,…": "both have the same shape, or are refused",
    "zoo.data.mixed_order MixedOrder._order: swap arguments, Stream.TEXT.generator(self.seed, text, 2) → Stream.TEXT.generator(text, self.seed, 2)": ANOTHER_ORDER,
    "zoo.generation _sample: detach, return torch.multinomial((logits / temperature).softmax(d… → return torch.multinomial((logits / temperature).softmax(d…": WITHOUT_GRADIENT,
    "zoo.ops.sliding_window _hide_missing: detach, return band.masked_fill(token < missing, -torch.inf) → return band.masked_fill(token < missing, -torch.inf).deta…": WITHOUT_GRADIENT,
    "zoo.data.tasks.task Task.example: off by one, 3 → 4": ANOTHER_ORDER,
    "zoo.models.hybrid.slow_store SlowStore.forward: detach, return q.new_zeros(*q.shape[:2], self.weights.shape[1]) → return q.new_zeros(*q.shape[:2], self.weights.shape[1]).d…": WITHOUT_GRADIENT,
    "zoo.training.state.movement norms: detach, return torch.stack([norm.float().to(found[0].device) for … → return torch.stack([norm.float().to(found[0].device) for …": WITHOUT_GRADIENT,
    "zoo.models.hybrid.slow_store _draw: off by one, 2 → 3": ANOTHER_ORDER,
    "zoo.ops.gated_delta _spans: swap arguments, blocks_in_span(chunk_size, batch_heads, device) → blocks_in_span(batch_heads, chunk_size, device)": "their product counts",
    "zoo.memory.contexts.diary Pages._inside: flip comparison, torch.arange(length, device=places.device) < since[:, None] → torch.arange(length, device=places.device) <= since[:, None]": "what comes before is the boundary, which equals no token",
}
"""By the lasting name of the change."""


def reason_of(site: Site) -> str | None:
    """Why a change is equivalent, if it is listed as such."""
    return EQUIVALENT.get(site.lasting_name)
