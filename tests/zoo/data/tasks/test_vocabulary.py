"""Tasks in a base's own tokenizer: every symbol has tokens, and a lack of one is a clear line."""

from collections.abc import Callable

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from cortexzoo.zoo.data.tasks.build import build_task
from cortexzoo.zoo.data.tasks.vocabulary import Alphabet, ByteVocabulary, OwnVocabulary, TokenizerVocabulary
from cortexzoo.zoo.errors import DataError
from tests.zoo.data.tasks.shipped import NAMES, answers_of, spec_of, task_of

TEXT = ["Rain fell on the lake. The pass key is 12345, so keep it in mind. abc=wxyz; (qwerty) 1+2=3?"] * 3


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE, as in GPT-2, Qwen and Llama 3."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=330, initial_alphabet=alphabet, special_tokens=["<end>"])
    made.train_from_iterator(TEXT, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=made, eos_token="<end>")


class CharacterTokenizer:
    """One token a known character, an unknown one for all others; `mark` stands before the first word, as in Llama."""

    all_special_ids = (0,)
    unk_token_id = 0

    def __init__(self, characters: str, fold: Callable[[str], str] = str, marked: bool = False) -> None:
        self.known, self.fold, self.marked = characters, fold, marked

    def __len__(self) -> int:
        return len(self.known) + 2

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        assert not add_special_tokens
        return [1] * self.marked + [self._token(character) for character in self.fold(text)]

    def _token(self, character: str) -> int:
        return self.known.index(character) + 2 if character in self.known else self.unk_token_id

    def decode(self, token_ids: list[int]) -> str:
        return "".join(self.known[token - 2] for token in token_ids if token > 1)


ASCII = "\n" + "".join(map(chr, range(32, 127)))


@pytest.mark.parametrize("name", [name for name in NAMES if "mqar" not in name])
def test_a_task_reads_the_same_in_a_tokenizer(name: str, tokenizer: PreTrainedTokenizerFast) -> None:
    few = ["task.num_keys=16", "task.num_values=16", "task.num_noise=16"]
    small = few if name in ("kv-tokens", "kv-tokens-distractors", "kv-tokens-far", "overwrite") else []
    task = build_task(spec_of(name, "vocabulary=tokenizer", *small), tokenizer=tokenizer)
    document = task.example("train", 0, 2)
    assert document.tokens.max() < task.vocabulary.size == len(tokenizer)
    if task.spec.task.kind in ("kv", "copy", "nback", "add", "passkey"):
        in_bytes = task_of(name, "vocabulary=bytes").example("train", 0, 2)
        for (_, answer), (_, expected) in zip(answers_of(document), answers_of(in_bytes), strict=True):
            assert tokenizer.decode(answer) == bytes(expected).decode()


def test_a_mark_before_the_first_word_is_no_part_of_a_symbol() -> None:
    vocabulary = TokenizerVocabulary(CharacterTokenizer(ASCII, marked=True))
    assert vocabulary.spell("5") == (ASCII.index("5") + 2,)


def test_distinct_tokens_are_read_back_and_never_special(tokenizer: PreTrainedTokenizerFast) -> None:
    vocabulary = TokenizerVocabulary(tokenizer)
    tokens = vocabulary.distinct(100).tolist()
    assert len(set(tokens)) == 100
    assert not set(tokens) & set(tokenizer.all_special_ids)
    assert all(vocabulary.spell(vocabulary.show([token])) == (token,) for token in tokens)


def test_a_symbol_may_take_several_tokens() -> None:
    class Hex(CharacterTokenizer):
        def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
            return [ord(nibble) for nibble in "".join(f"{ord(c):02x}" if c.islower() else c for c in text)]

        def __len__(self) -> int:
            return 128

    task = build_task(spec_of("kv", "vocabulary=tokenizer", "chunk_size=128"), tokenizer=Hex(ASCII))
    document = task.example("train", 0, 1)
    ((_, answer),) = answers_of(document)
    ((_, expected),) = answers_of(task_of("kv").example("train", 0, 1))
    assert bytes.fromhex(bytes(answer).decode()) == bytes(expected)
    assert task.chance().exact == 26**-4
    # 15 letters begin with 6, and then 15 ways to go on: (15 + 1 + 1) of 52.
    assert task.chance().token == pytest.approx((15 + 1 + 1) / 52)
    with pytest.raises(DataError, match="add needs one token a digit"):
        build_task(
            spec_of("add", "vocabulary=tokenizer"),
            tokenizer=CharacterTokenizer(ASCII, lambda text: text.replace("7", "77")),
        )


@pytest.mark.parametrize(
    ("name", "tokenizer", "message"),
    [
        ("kv", CharacterTokenizer(ASCII.replace("=", "")),
         r"^the base's tokenizer has no token for '=', which the task needs: use another base$"),
        ("copy", CharacterTokenizer(ASCII, str.lower), r"^noise needs a token of its own for 'A', and the base"),
        ("nback", CharacterTokenizer(ASCII, lambda text: text.replace("b", "a")),
         r"^the base's tokenizer writes 'a' and 'b' alike, which the task needs apart: use another base$"),
        ("kv-tokens", CharacterTokenizer(ASCII),
         r"^the task needs 192 different tokens, the base's tokenizer has 9[0-9] of use: ask for fewer, or use "),
    ],
)  # fmt: skip
def test_one_line_for_a_tokenizer_that_lacks_something(name: str, tokenizer: CharacterTokenizer, message: str) -> None:
    with pytest.raises(DataError, match=message):
        build_task(spec_of(name, "vocabulary=tokenizer"), tokenizer=tokenizer)


def test_one_line_for_too_small_a_vocabulary() -> None:
    with pytest.raises(DataError, match=r"^the task needs 257 different tokens, bytes have 256: ask for fewer$"):
        ByteVocabulary().distinct(257)
    with pytest.raises(DataError, match=r"^the vocabulary has no '!', it has 'abc'$"):
        OwnVocabulary("cab").spell("a!")


def test_alphabets_write_by_number() -> None:
    letters = Alphabet("xyz", ByteVocabulary())
    assert bytes(letters.write([2, 0, 0])) == b"zxx"
    assert (len(letters), letters.longest, letters.tokens) == (3, 1, set(b"xyz"))
