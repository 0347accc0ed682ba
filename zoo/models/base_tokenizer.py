"""The tokenizer of a pretrained base as text data reads it."""

from pathlib import Path

from cortexzoo.specs.backbone import PRETRAINED, BackboneSpec, FolderBackbone
from cortexzoo.zoo.data.text_vocabulary import TokenizerVocabulary
from cortexzoo.zoo.errors import BackboneError
from cortexzoo.zoo.models.backbones import load_tokenizer

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.json")


def tokenizer_of(spec: BackboneSpec) -> TokenizerVocabulary | None:
    """None for a base that was made here, and for a folder without a tokenizer. Raises `BackboneError`."""
    if not isinstance(spec, PRETRAINED):
        return None
    if isinstance(spec, FolderBackbone) and not any((Path(spec.path) / name).is_file() for name in TOKENIZER_FILES):
        return None
    backend = getattr(load_tokenizer(spec), "backend_tokenizer", None)
    if backend is None or not hasattr(backend, "to_str"):
        raise BackboneError(
            f"{spec.kind} base: its tokenizer has no form that the library tokenizers reads: convert it to "
            "tokenizer.json, and name that file (data.vocabulary.kind: file)"
        )
    return TokenizerVocabulary(backend.to_str(), f"the tokenizer of the {spec.kind} base")
