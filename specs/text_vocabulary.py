"""The tokens that a text is read in: bytes, a base's own tokenizer, a tokenizer file, or a BPE trained on the text."""

from typing import Annotated, Literal

from pydantic import Field

from cortexzoo.specs.base import FilePath, PathText, Spec
from cortexzoo.specs.provenance import OURS


class ByteTokens(Spec):
    """One token a byte of UTF-8: 256 tokens."""

    kind: Literal["bytes"] = "bytes"


class BaseTokens(Spec):
    """The tokenizer that comes with the variant's pretrained base."""

    kind: Literal["base"] = "base"


class TokenizerFile(Spec):
    """A `tokenizer.json` as the library tokenizers writes it; a relative path is relative to the spec file."""

    kind: Literal["file"] = "file"
    path: Annotated[PathText, FilePath()]


class TrainedBPE(Spec):
    """Byte-level BPE, trained on the training part of the text on first use and then kept in the user's cache folder.

    Source: Sennrich et al. 2016, arXiv:1508.07909; over bytes as in GPT-2.
    """

    kind: Literal["bpe"] = "bpe"
    size: Annotated[int, Field(ge=257, le=1_000_000), OURS] = Field(
        1024, description="Tokens, the 256 bytes included; fewer where the text has no more pairs."
    )
    min_frequency: Annotated[int, Field(ge=1), OURS] = Field(2, description="Pairs that are rarer are not merged.")


TextVocabularySpec = Annotated[ByteTokens | BaseTokens | TokenizerFile | TrainedBPE, Field(discriminator="kind")]
