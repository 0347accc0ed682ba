"""Memory tasks as spec files: a mistake in one is one line, before anything is generated."""

import pytest

from cortexzoo.specs import load
from cortexzoo.specs.task import TaskSpec
from tests.specs.conftest import Mistakes, Write

HEAD = "kind: data\nfamily: task\nname: a\n"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("task: {kind: kv}\ngaps: [1, -1]\n", "my.yaml:5:11: gaps.1 must be >= 0, got -1"),
        ("task: {kind: kv}\ngaps: [-1]\n", "my.yaml:5:8: gaps.0 must be >= 0, got -1"),
        ("task: {kind: kv}\ngaps: []\n", "my.yaml:5:7: gaps must have at least 1 entry, got none"),
        ("task: {kind: kv}\nchunk_size: 0\n", "my.yaml:5:13: chunk_size must be > 0, got 0"),
        ("task: {kind: kv, version: 2}\n", "my.yaml:4:27: task.version must be 1, got 2"),
        ("task: {kind: mqra}\n",
         "my.yaml:4:14: task.kind must be kv, copy, nback, add, kv_tokens, overwrite, mqar, selective_copy or passkey, "
         "got 'mqra'; did you mean mqar?"),
        ("task: {kind: kv, num_pairs: 27, key_length: 1}\n",
         "my.yaml:4:29: task.num_pairs must be at most 26, the number of distinct keys of 1 letters, got 27"),
        ("task: {kind: kv_tokens, num_pairs: 65}\n",
         "my.yaml:4:36: task.num_pairs must be at most 64, the number of distinct keys, got 65"),
        ("task: {kind: overwrite, num_queries: 7}\n",
         "my.yaml:4:38: task.num_queries must be at most 6, the number of pairs, got 7"),
        ("task: {kind: overwrite, num_rebound: 7}\n",
         "my.yaml:4:38: task.num_rebound must be at most 6, the number of pairs, got 7"),
        ("task: {kind: nback, num_queries: 9}\n",
         "my.yaml:4:34: task.num_queries must be at most 8, the number of letters, got 9"),
        ("task: {kind: mqar, num_pairs: 17}\nvocabulary: own\n",
         "my.yaml:4:31: task.num_pairs must be at most 16, the number of pairs and questions in 64 tokens, got 17"),
        ("task: {kind: mqar, vocab_size: 8}\nvocabulary: own\n",
         "my.yaml:4:7: task.num_pairs must be at most 3, the number of keys of 8 tokens, one kept for noise, got 4"),
        ("task: {kind: mqar}\nvocabulary: bytes\n",
         "my.yaml:5:13: vocabulary must be own or tokenizer, as the task needs 8192 tokens, got 'bytes'"),
        ("task: {kind: kv_tokens, num_pairs: 64}\nfiller: {kind: pairs}\n",
         "my.yaml:5:16: filler.kind must be a kind without further keys, got pairs: num_pairs = 64 leaves no key "
         "that is not asked for among 64"),
        ("task: {kind: kv, num_pairs: 26, key_length: 1}\nfiller: {kind: near_keys}\n",
         "my.yaml:5:16: filler.kind must be a kind without further keys, got near_keys: num_pairs = 26 leaves no key "
         "that is not asked for among 26"),
        ("task: {kind: copy}\nfiller: {kind: pairs}\n",
         "my.yaml:5:16: filler.kind must be noise for the task copy, got pairs: only pairs have other fillers"),
        ("task: {kind: kv}\nvocabulary: own\nfiller: {kind: text}\n",
         "my.yaml:6:16: filler.kind must be noise, pairs or near_keys with vocabulary own, got text"),
        ("task: {kind: kv_tokens, num_noise: 128}\nfiller: {kind: unseen_noise}\n",
         "my.yaml:5:16: filler.kind must not be unseen_noise: the task uses all 256 bytes"),
        ("task: {kind: kv}\nfiller: {kind: mixed, of: [{kind: noise}]}\n",
         "my.yaml:5:27: filler.of must have at least 2 entries, got 1"),
        ("task: {kind: kv}\nfiller: {kind: mixed, of: [{kind: noise}, {kind: noise}]}\n",
         "my.yaml:5:27: filler.of must name each kind once, got noise, noise"),
    ],
)  # fmt: skip
def test_the_line_for_a_mistake(write: Write, mistakes: Mistakes, text: str, line: str) -> None:
    assert mistakes(write("my.yaml", HEAD + text)) == [line]


def test_the_users_numbers() -> None:
    pairs, addition = load("kv", "data").task, load("add", "data").task
    assert (pairs.num_pairs, pairs.key_length, pairs.value_length, pairs.num_queries) == (6, 3, 4, 1)
    assert addition.num_digits == 32
    assert load("copy", "data").task.order == "reversed"


def test_the_sizes_of_the_mqar_paper() -> None:
    shipped = [load(f"mqar-{length}-{pairs}", "data") for length, pairs in ((64, 4), (128, 8), (256, 16), (512, 64))]
    for spec in shipped:
        assert isinstance(spec, TaskSpec)
        assert (spec.task.vocab_size, spec.task.power, spec.vocabulary) == (8192, 0.01, "own")
        assert spec.name == f"mqar-{spec.task.sequence_length}-{spec.task.num_pairs}"
