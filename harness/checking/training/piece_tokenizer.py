"""A tokenizer of SentencePiece's family, small enough to be written down."""

import json

BYTES = 256
BLANK = "\u2581"
MERGES = (("t", "h"), ("th", "e"), ("m", "o"), ("mo", "d"), (BLANK, "mod"), ("o", "f"))
ADDED, SPECIAL = ("<pause>", "<s>", "</s>"), ("<s>", "</s>")
"""Behind all others; those that are not special stand for themselves."""


def tokenizer_of_pieces(content: bytes) -> str:
    """A tokenizer of SentencePiece's family: blanks are letters, bytes stand for what has no token, some are added."""
    letters = sorted({chr(byte) for byte in content if 32 < byte < 128} | {BLANK})
    tokens = [*(f"<0x{byte:02X}>" for byte in range(BYTES)), *letters, *(first + second for first, second in MERGES)]
    added = [
        {"id": number, "content": name, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
         "special": name in SPECIAL}
        for number, name in enumerate(ADDED, start=len(tokens))
    ]  # fmt: skip
    steps = [
        {"type": "Replace", "pattern": {"String": BLANK}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
    ]
    model = {"type": "BPE", "byte_fallback": True, "vocab": {token: i for i, token in enumerate([*tokens, *ADDED])},
             "merges": [list(pair) for pair in MERGES]}  # fmt: skip
    return json.dumps(
        {
            "version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "pre_tokenizer": None,
            "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": BLANK}, "post_processor": None,
            "decoder": {"type": "Sequence", "decoders": steps}, "model": model,
        }
    )  # fmt: skip
