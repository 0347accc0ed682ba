"""Training on a memory task: what counts, how far gradients reach, what is recorded, and exact resumption."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from cortexzoo.specs.data import TextSpec
from cortexzoo.specs.fault import BadBatch, FaultSpec, FaultsSpec, RepeatedBatch
from cortexzoo.specs.filler import MixedFiller, NoiseFiller, PairsFiller
from cortexzoo.specs.objective import DriftSpec, InChunkDivergence, InChunkSamples, NoInChunkGuard, Recall, Stage
from cortexzoo.specs.sleep import ReplaySleep
from cortexzoo.specs.task import KeyValue, MultiQueryRecall, Passkey, SelectiveCopy
from cortexzoo.zoo.data.tasks.build import build_task
from cortexzoo.zoo.data.tasks.recall_measure import recall_at
from cortexzoo.zoo.errors import DataError
from cortexzoo.zoo.training.evaluation import next_token_loss
from cortexzoo.zoo.training.faults.injection import inject
from cortexzoo.zoo.training.loop import TrainingLoop
from cortexzoo.zoo.training.objectives.drift import divergence
from cortexzoo.zoo.training.objectives.recall_evaluation import ask
from cortexzoo.zoo.training.objectives.recall_objective import GUARDED, RecallObjective
from tests.zoo.models.hybrid.tiny import tiny_hybrid
from tests.zoo.training.objectives.tiny import STAGES, tiny_data, tiny_experiment, tiny_task, tiny_trainer
from tests.zoo.training.tiny import At, Notebook, same_tensors, weights


def objective_of(trainer: TrainingLoop) -> RecallObjective:
    assert isinstance(trainer.objective, RecallObjective)
    return trainer.objective


def gradients(trainer: TrainingLoop, number: int = 1) -> dict[str, Tensor]:
    """Of one micro-batch of a step."""
    model, objective = trainer.model, trainer.objective
    examples = objective.examples(number)
    assert examples.scored is not None
    state = model.initial_state(examples.tokens.shape[1])
    loss, _ = objective.loss(model, examples.tokens[0], examples.scored[0], state, number - 1)
    model.zero_grad()
    torch.autograd.backward(loss)
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def with_objective(**values: Any) -> TrainingLoop:
    return tiny_trainer(tiny_experiment(Recall(**{"stages": (Stage(gaps=(2,), tokens_per_step=64),), **values})))


def test_only_answers_count() -> None:
    trainer = tiny_trainer()
    examples = trainer.objective.examples(1)
    tokens, scored = examples.tokens[0], examples.scored
    assert scored is not None
    assert scored.sum() == 2 * tokens.shape[0], "two answers of one token a document"
    model = trainer.model
    loss, _ = trainer.objective.loss(model, tokens, scored[0], model.initial_state(len(tokens)), 0)
    labels = torch.where(scored[0], tokens[:, 1:], -100)
    logits = model(tokens[:, :-1]).logits.transpose(1, 2)
    assert loss.item() == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-5)


def test_a_step_has_as_many_documents_as_its_tokens_allow() -> None:
    trainer = tiny_trainer(tiny_experiment(Recall(stages=(Stage(gaps=(0, 6), tokens_per_step=64),))))
    shapes = {tuple(trainer.objective.examples(number).tokens.shape) for number in (1, 2)}
    assert shapes == {(1, 4, 9), (1, 1, 65)}, "at most batch_size; at least one"


def test_documents_come_once_and_accumulate() -> None:
    trainer = tiny_trainer(tiny_experiment(accumulation=2))
    seen = [row.tobytes() for n in range(1, 5) for row in trainer.objective.examples(n).tokens.flatten(0, 1).numpy()]
    assert len(set(seen)) == len(seen)
    result = trainer.run()
    assert result.steps_taken == 8


def test_gradients_reach_through_the_whole_document_by_default() -> None:
    """In one call, in pieces with their state attached: the same."""
    whole = gradients(with_objective())
    trainer = with_objective()
    model, examples = trainer.model, trainer.objective.examples(1)
    assert examples.scored is not None
    tokens, state = examples.tokens[0], model.initial_state(examples.tokens.shape[1])
    logits = []
    for piece in tokens[:, :-1].split(8, dim=1):
        output = model(piece, state)
        state = output.state
        logits.append(output.logits)
    model.zero_grad()
    torch.autograd.backward(next_token_loss(torch.cat(logits, dim=1), tokens, examples.scored[0]))
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None
        torch.testing.assert_close(whole[name], parameter.grad, rtol=1e-4, atol=1e-6)


def test_a_detached_state_teaches_no_writing() -> None:
    """With the gap of two chunks, keys and values of the facts get no gradient from the answers."""
    cut, whole = with_objective(bptt_chunks=1), with_objective()
    for trainer in (cut, whole):
        trainer.model.train()
    first_chunk = {}
    for name, trainer in (("cut", cut), ("whole", whole)):
        kept: list[Tensor] = []
        base = trainer.model.base.network.get_input_embeddings()
        hook = base.register_forward_hook(lambda m, i, o, kept=kept: kept.append(o.requires_grad_()))
        gradients(trainer)
        hook.remove()
        grad = kept[0].grad
        first_chunk[name] = 0.0 if grad is None else float(grad.reshape(-1, 8, grad.shape[-1])[0].abs().sum())
    assert first_chunk["cut"] == 0.0
    assert first_chunk["whole"] > 0.0


def test_longer_pieces_reach_further() -> None:
    one, two, whole = (gradients(with_objective(bptt_chunks=chunks)) for chunks in (1, 2, None))
    assert not same_tensors(one, two)
    assert not same_tensors(two, whole)
    all_of_it = gradients(with_objective(bptt_chunks=5))
    assert same_tensors(all_of_it, whole), "five chunks are the whole document"


def test_recomputed_activations_give_the_same_gradients() -> None:
    kept, again = gradients(with_objective()), gradients(with_objective(recompute_activations=True))
    for name, gradient in kept.items():
        torch.testing.assert_close(again[name], gradient, rtol=1e-5, atol=1e-7)


def test_what_guards_the_chunk_adds_to_the_loss() -> None:
    def loss(**values: Any) -> tuple[float, dict[str, Tensor]]:
        trainer = with_objective(**values)
        examples = trainer.objective.examples(1)
        assert examples.scored is not None
        state = trainer.model.initial_state(examples.tokens.shape[1])
        found, output = trainer.objective.loss(trainer.model, examples.tokens[0], examples.scored[0], state, 0)
        return found.item(), output.readings

    plain, readings = loss()
    assert GUARDED not in readings
    for guard in (InChunkSamples(weight=2.0), InChunkDivergence(weight=2.0)):
        guarded, readings = loss(in_chunk=guard)
        assert readings[GUARDED] > 0
        assert guarded == pytest.approx(plain + 2.0 * readings[GUARDED].item(), rel=1e-6)


def test_divergence_is_that_of_the_definition_and_zero_at_the_start() -> None:
    tokens = torch.randint(256, (2, 20), generator=torch.Generator().manual_seed(0))
    model = tiny_hybrid()
    ours, base = model(tokens).logits.log_softmax(-1), model(tokens, None, model.switches).logits.log_softmax(-1)
    expected = (base.exp() * (base - ours)).sum(-1).mean()
    torch.testing.assert_close(divergence(model, tokens), expected)
    assert divergence(tiny_hybrid(awake=False), tokens).item() == pytest.approx(0, abs=1e-6)


def test_drift_is_told_before_training_and_after_every_epoch() -> None:
    book = Notebook()
    trainer = tiny_trainer(notebook=book)
    trainer.run()
    told = [(step, detail["epoch"], detail["base_perplexity"]) for step, kind, detail in book.events if kind == "drift"]
    # Four documents of 24 tokens are more than 64, so a step of gap 1 has two: four steps a stage of two gaps.
    assert [(step, epoch) for step, epoch, _ in told][:2] == [(0, 0), (4, 1)]
    assert len({base for _, _, base in told}) == 1
    kl = [detail["hidden_kl"] for _, kind, detail in book.events if kind == "drift"]
    assert kl[0] > 0, "the sidecars are awake"
    assert kl[0] != kl[1]


def test_every_document_has_its_record() -> None:
    book = Notebook()
    tiny_trainer(notebook=book).run()
    samples = [(step, detail) for step, kind, detail in book.events if kind == "sample"]
    by_step = {step: [d for s, d in samples if s == step] for step, _ in samples}
    assert sorted(by_step) == list(range(1, 9))
    assert all(d["answer_tokens"] == 2 for _, d in samples)
    losses = book.column("train/loss")
    for step, documents in by_step.items():
        mean = sum(float(str(d["loss"])) for d in documents) / len(documents)
        assert mean == pytest.approx(losses[step], rel=1e-4)
    assert "memory/write_strength/layer_0" in samples[0][1]


def test_held_out_recall_and_the_end_of_a_run() -> None:
    book = Notebook()
    result = tiny_trainer(notebook=book).run()
    assert set(book.column("validation/recall")) == {4, 8}
    assert set(book.column("validation/recall/gap_2")) == {4, 8}
    assert result.unigram_loss is None
    for found in (result.recall, result.recall_memory_off, result.recall_base):
        assert found is not None
        assert set(found["tiny-pairs"]) == {1, 2}
    assert result.chance == {"tiny-pairs": pytest.approx(1 / 8)}


def test_recall_is_told_for_each_filler_of_a_mixture() -> None:
    mixed = MixedFiller(of=(NoiseFiller(), PairsFiller()))
    data = tiny_task(filler=mixed, evaluation_documents=16)
    result = tiny_trainer(tiny_experiment(data=data, steps=1)).run()
    assert result.recall is not None and result.recall_by_filler is not None
    for gap, shares in result.recall_by_filler["tiny-pairs"].items():
        assert set(shares) == {"noise", "pairs"}
        assert min(shares.values()) <= result.recall["tiny-pairs"][gap] <= max(shares.values())
    assert tiny_trainer(tiny_experiment(steps=1)).run().recall_by_filler is None


ASKED = {
    "pairs": {},
    "padded": {"document_chunks": 20, "gaps": (6,)},
    "tokens": {"gap_unit": "tokens", "gaps": (30,)},
    "words": {"task": KeyValue(num_pairs=2, num_queries=2, key_length=2, value_length=2), "gaps": (6,)},
    "scattered": {"task": SelectiveCopy(sequence_length=12, num_copied=3), "gaps": (6,)},
    "passkey": {"task": Passkey(depth_chunks=2), "gaps": (6,)},
    "many": {"task": MultiQueryRecall(vocab_size=32, sequence_length=24, num_pairs=3), "gaps": (6,)},
}


@pytest.mark.parametrize("values", ASKED.values(), ids=ASKED)
@pytest.mark.parametrize("disabled", [{"fast_weights"}, {"fast_weights", "window"}], ids=["window", "base"])
def test_controls_need_no_more_than_their_reach(disabled: set[str], values: dict[str, Any]) -> None:
    """What a control is not given cannot have mattered: the same loss as over the whole document."""
    model, task = tiny_hybrid(), build_task(tiny_task(**values))
    read: list[int] = []

    def predict(tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
        read.append(tokens.shape[1])
        output = model(tokens, state, disabled)
        return output.logits, output.state

    receptive_field, gap = model.receptive_field(disabled), max(6, task.spec.gaps[-1])
    assert receptive_field is not None
    whole = recall_at(task, predict, gap, documents=4)
    assert sum(read) == task.length(gap)
    read.clear()
    near = recall_at(task, predict, gap, documents=4, receptive_field=receptive_field)
    assert near.loss == pytest.approx(whole.loss, rel=1e-6)
    assert near.accuracy == whole.accuracy
    bridged = task.spec.gap_unit == "tokens"
    assert sum(read) == task.length(gap) if bridged else sum(read) < task.length(gap)


def test_the_base_stays_as_it_was() -> None:
    trainer = tiny_trainer()
    base = weights(trainer.model.base.network)
    before = weights(trainer.model)
    trainer.run()
    assert same_tensors(weights(trainer.model.base.network), base)
    assert not same_tensors(weights(trainer.model), before)


GUARDS = {"samples": InChunkSamples(documents=2), "kl": InChunkDivergence(sequences=2), "none": NoInChunkGuard()}


@pytest.mark.parametrize(("at", "guard"), [(2, "samples"), (4, "none"), (5, "kl")])
def test_a_resumed_run_ends_with_the_same_bits(at: int, guard: str, tmp_path: Path) -> None:
    whole_book, book = Notebook(), Notebook()
    objective = Recall(stages=STAGES, drift=DriftSpec(sequences=3), in_chunk=GUARDS[guard])
    experiment = tiny_experiment(objective, accumulation=2, sleep=ReplaySleep(every=3, steps=2, batch_size=2))
    whole = tiny_trainer(experiment, notebook=whole_book)
    whole.run()
    stop = At("step_taken", {at}, lambda trainer, step: trainer.stop("interrupted"))
    begun = tiny_trainer(experiment, policies=(stop,))
    assert begun.run().stopped == "interrupted"
    begun.save(tmp_path / "last")
    resumed = tiny_trainer(experiment, notebook=book)
    resumed.load(tmp_path / "last")
    resumed.run()
    assert same_tensors(weights(resumed.model), weights(whole.model))
    late = [(s, k, d) for s, k, d in whole_book.events if s > at and k in ("sample", "drift", "stage")]
    assert [(s, k, d) for s, k, d in book.events if k in ("sample", "drift", "stage")] == late


def test_what_does_not_suit_is_refused_in_one_line() -> None:
    big = tiny_task(task=MultiQueryRecall(vocab_size=512, sequence_length=16, num_pairs=2), vocabulary="own")
    with pytest.raises(ValueError, match=r"vocab_size must be at least 512, as many tokens as the task .*, got 256"):
        tiny_experiment(data=big)
    most = tiny_task(task=MultiQueryRecall(vocab_size=256, sequence_length=16, num_pairs=2), vocabulary="own")
    assert tiny_experiment(data=most).variant.vocab_size == 256
    with pytest.raises(DataError, match=r"drift.source: a part of its text has \d+ tokens, but one seq"):
        tiny_trainer(tiny_experiment(sequence_length=90_000))
    with pytest.raises(DataError, match="document_chunks is 4"):
        tiny_trainer(tiny_experiment(Recall(stages=(Stage(gaps=(9,)),)), data=tiny_task(document_chunks=4)))
    with pytest.raises(ValueError, match=r"recipe.objective.kind must be next_token"):
        tiny_experiment().model_copy().model_validate(
            {**dict(tiny_experiment()), "data": TextSpec(name="text")}, strict=True
        )
    with pytest.raises(ValueError, match=r"data.chunk_size must be variant.chunk_size = 8, got 16"):
        tiny_experiment(data=tiny_task(chunk_size=16))


def test_each_micro_batch_of_a_run_has_its_own_text_to_guard() -> None:
    """The same for a step wherever it is asked for, and never the one before again."""
    trainer = tiny_trainer(tiny_experiment(Recall(stages=STAGES, in_chunk=InChunkDivergence(sequences=2))))
    objective = objective_of(trainer)
    found: list[Tensor] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "cortexzoo.zoo.training.objectives.recall_objective.divergence", lambda _model, rows: found.append(rows)
        )
        for place in (0, 1, 2, 1):
            objective._divergence(trainer.model, place, 2, torch.device("cpu"))
    assert found[0].shape == (2, 12)
    assert torch.equal(found[1], found[3])
    assert len({row.numpy().tobytes() for rows in found[:3] for row in rows}) == 6


def test_batches_that_are_broken_or_come_again_end_no_run() -> None:
    """A batch that comes again has the gap of its own step, and so its own length and answers."""
    book = Notebook()
    trainer = tiny_trainer(tiny_experiment(Recall(stages=(Stage(gaps=(0, 2), tokens_per_step=64),))), notebook=book)
    declared: dict[str, Any] = {"expect": "harmless", "harms": False}
    faults: dict[str, FaultSpec] = {
        "stuck": RepeatedBatch(times=3, step=2, **declared),
        "noise": BadBatch(content="random", step=6, **declared),
        "empty": BadBatch(content="empty", step=7, **declared),
    }
    inject(trainer, FaultsSpec(name="f", faults=faults))
    result = trainer.run()
    assert (result.steps_taken, result.steps_refused) == (7, 1)
    tokens = {step: sum(1 for s, kind, _ in book.events if kind == "sample" and s == step) for step in range(1, 9)}
    assert len({tokens[step] for step in (2, 3, 4, 5)}) == 1 < len(set(tokens.values())), "the same rows, four times"


def test_a_refused_step_has_its_gap_and_its_documents() -> None:
    """What comes after is what would have come without the refusal."""
    books = Notebook(), Notebook()
    refuse = At("loss_known", {3}, lambda trainer, step: step.refuse("not wanted"))
    for book, policies in zip(books, ((), (refuse,)), strict=True):
        seen: dict[int, bytes] = {}
        look = At("batch_ready", set(range(1, 9)), lambda _, step, seen=seen: seen.update({step.number: step.tokens}))
        look.name = "look"
        result = tiny_trainer(notebook=book, policies=(*policies, look)).run()
        assert result.steps_taken == 8 - len(policies)
        book.events.append((0, "seen", dict(seen)))
    (disabled, with_refusal) = (book.events[-1][2] for book in books)
    assert all(torch.equal(disabled[number], with_refusal[number]) for number in disabled)
    assert books[0].column("curriculum/gap") == books[1].column("curriculum/gap")


@pytest.mark.parametrize("guard", [InChunkSamples(documents=2), InChunkDivergence(sequences=2)])
def test_bfloat16_trains_like_single_precision(guard: InChunkSamples | InChunkDivergence) -> None:
    losses = []
    for precision in ("fp32", "bf16"):
        book = Notebook()
        objective = Recall(stages=STAGES, drift=DriftSpec(sequences=2), in_chunk=guard, recompute_activations=True)
        result = tiny_trainer(tiny_experiment(objective, precision=precision), notebook=book).run()
        assert result.steps_taken == 8
        losses.append(list(book.column("train/loss").values()))
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=0.05)


def test_fewer_documents_are_asked_at_once_where_the_vocabulary_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = tiny_trainer()
    task, model = objective_of(trainer).task, trainer.model
    whole = ask(model, task, [1], trainer, 5)
    monkeypatch.setattr(
        "cortexzoo.zoo.training.objectives.recall_evaluation.LOGITS_AT_ONCE", 2 * task.chunk_size * model.vocab_size
    )
    rows: list[int] = []
    hook = model.register_forward_pre_hook(lambda _module, inputs: rows.append(len(inputs[0])))
    parted = ask(model, task, [1], trainer, 5)
    hook.remove()
    assert set(rows) == {1, 2}
    assert parted[1].accuracy == whole[1].accuracy
    assert parted[1].loss == pytest.approx(whole[1].loss, rel=1e-5)


def test_the_sum_tells_tasks_and_seeds_apart() -> None:
    sums = {tiny_data().sha256, tiny_data(seed=1).sha256, tiny_data(tiny_task(gaps=(1, 3))).sha256}
    assert len(sums) == 3
    assert tiny_data().sha256 == tiny_data().sha256
