"""`text_is_kept_whole`: passes as it is, and finds a mistake between a text and its tokens."""

import pytest

from cortexzoo.harness.checking.judge import judge, judge_case
from cortexzoo.harness.checking.mutants.base import rewritten
from cortexzoo.harness.checking.properties import REGISTRY
from cortexzoo.harness.checking.verdict import Judgement
from cortexzoo.specs.suite import Check
from cortexzoo.zoo.data import documents, mixture, prepared, preparing, text, text_vocabulary, vocabulary_source
from cortexzoo.zoo.data.mixture import ChainedTokens
from cortexzoo.zoo.data.order import DocumentOrder
from cortexzoo.zoo.data.text import TextData
from cortexzoo.zoo.data.text_vocabulary import TextVocabulary, TokenizerVocabulary
from cortexzoo.zoo.data.token_files import TokenFolder, TokenWriter
from tests.harness import tiny
from tests.harness.checking.properties.planted import is_caught
from tests.quick import every

PROPERTY = REGISTRY["text_is_kept_whole"]


def judged(kind: str) -> Judgement:
    return judge_case(PROPERTY, Check(), tiny.subject(), {"kind": kind, "words": 900, "seed": 0})


def test_it_passes_as_it_is() -> None:
    judgement = judge(PROPERTY, Check(), tiny.subject())
    assert judgement.verdict == "pass", judgement.reason
    assert judgement.cases_tried >= 11


def test_a_corpus_so_short_that_all_of_it_is_counted_passes() -> None:
    short = {"kind": "prepared", "words": 300, "seed": 0}
    judgement = judge_case(PROPERTY, Check(), tiny.subject(), short)
    assert judgement.verdict == "pass", judgement.reason


@pytest.mark.parametrize(
    ("kind", "owner", "function", "old", "new"),
    every(
        3,
        [
            ("bytes", text, "cuts", "1 - test_fraction", "1 - validation_fraction"),
            ("bytes", TextData, "reference_losses", "starts[:, None] + 1", "starts[:, None]"),
            ("byte-level", TextData, "from_spec", "content[first:second]", "content[first : second - 4]"),
            (
                "byte-level",
                TextData,
                "from_spec",
                "character_start(content, place)",
                "character_start(content, place + 1)",
            ),
            ("byte-level", TextData, "from_parts", "cls(train, validation", "cls(validation, train"),
            ("byte-level", TextData, "from_parts", "len(part)", "len(part.decode())"),
            ("byte-level", TextData, "_scale", "/ max(spelled, 1)", "/ 1"),
            ("byte-level", TextData, "reference_losses", "start + 1 + targets", "start + targets"),
            ("byte-level", TextData, "reference_losses", "text[max(0, start - BEFORE)", "text[max(0, start)"),
            (
                "byte-level",
                TextData,
                "reference_losses",
                "np.arange(length, length + len(scored))",
                "np.arange(len(scored))",
            ),
            ("byte-level", TextVocabulary, "needed", "[-1]) + 1", "[-1]) + 2"),
            ("byte-level", TokenizerVocabulary, "bytes_of", "self._starts[tokens]", "0 * self._starts[tokens]"),
            ("byte-level", text_vocabulary, "trained_bpe", "vocab_size=size", "vocab_size=size + 1"),
            ("byte-level", text_vocabulary, "trained_bpe", "min_frequency=min_frequency", "min_frequency=0"),
            ("byte-level", vocabulary_source, "require_same", "!= number", "is None"),
            ("pieces", text_vocabulary, "_of_sentence_piece", "== 6", "== 5"),
            ("pieces", text_vocabulary, "_of_sentence_piece", "token[3:5], 16", "token[3:5][::-1], 16"),
            ("pieces", text_vocabulary, "_of_sentence_piece", '.replace(SPACE, " ")', ""),
            ("pieces", TokenizerVocabulary, "_spelled", 'b"" if added[number]["special"] else ', ""),
            ("pieces", TokenizerVocabulary, "_spelled", 'if added[number]["special"] else token.encode()', ""),
            ("mixture", mixture, "_split", "content[first:second]", "content[:first]"),
            ("mixture", mixture, "_counted", "sum(", "max("),
            ("mixture", mixture, "mixed_text", "np.cumsum([0,", "np.cumsum([1,"),
            ("mixture", mixture, "mixed_text", '"".join(text.sha256 for text in texts)', "texts[0].sha256[:0]"),
            ("mixture of bytes", DocumentOrder, "scored", "self.sequence_length + 1", "self.sequence_length"),
            ("long", text_vocabulary, "_pieces", "begin = end", "begin = end + 1"),
            ("long files", documents, "_text", 'b"\\r" if rest.endswith(b"\\r") else b""', 'b""'),
            ("long files", documents, "_text", "block.removeprefix(MARK)", "block"),
            ("long files", documents, "_rows", "if text:", "if True:"),
            ("long files", documents, "_in_pieces", "begin = end", "begin = end + 1"),
            ("learned", preparing, "prepare", "learned <= training", "learned > 0"),
            ("learned", preparing, "_beginning", "[:learned]", "[1000 : 1000 + learned]"),
            ("learned", preparing, "_beginning", "decode(errors", "translate(bytes(256)).decode(errors"),
            ("learned", preparing, "_written", "skipped[0] += 1", "skipped[0] += 2"),
            ("chained", ChainedTokens, "__getitem__", "at < end", "at <= end - 2"),
            ("chained", ChainedTokens, "__getitem__", "places[chosen] - self.begins[index]", "0 * places[chosen]"),
            ("chained", ChainedTokens, "__init__", "default=0", "default=0) // (2"),
            ("prepared", TokenWriter, "_cut", "// 100", "// 10"),
            ("prepared", TokenWriter, "add", "max(self.largest, int(tokens.max()))", "int(tokens.max())"),
            ("prepared", TokenWriter, "_within", "length + round", "round"),
            ("prepared", TokenWriter, "add", "self.length += len(text)", "self.length += len(tokens)"),
            ("prepared", TokenWriter, "finish", "cut[1] - before[1]", "cut[1]"),
            ("prepared", prepared, "text_of", 'parts[name]["spelled"]', 'parts[name]["bytes"] + 1'),
            ("prepared of bytes", TokenWriter, "finish", "1 - fractions[1]", "1 - fractions[0]"),
            ("prepared of bytes", TokenFolder, "document_starts", "every > begin", "every >= begin"),
            ("prepared of bytes", TokenFolder, "sha256", "(TOKENS, DOCUMENTS)", "(DOCUMENTS, DOCUMENTS)"),
            ("prepared of bytes", preparing, "_written", "writer.add(corpus.separator)", "pass"),
        ],
    ),
)
def test_a_small_mistake_is_found(kind: str, owner: object, function: str, old: str, new: str) -> None:
    assert is_caught(owner, function, old, new, lambda: judged(kind))


def test_a_piece_that_ends_within_a_character_is_no_pass() -> None:
    with rewritten(text_vocabulary, "_pieces", "character_start(text, end)", "end")():
        judgement = judged("long")
    assert judgement.verdict == "error" and "UnicodeDecodeError" in judgement.reason
