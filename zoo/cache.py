"""Where what is made once and used again is kept: trained bases, tokenizers, finished runs."""

import os
from pathlib import Path

from platformdirs import user_cache_path

CACHE_VARIABLE = "CORTEXZOO_CACHE"


def cache_folder() -> Path:
    """$CORTEXZOO_CACHE, or the user's cache folder."""
    named = os.environ.get(CACHE_VARIABLE)
    return Path(named) if named else user_cache_path("cortexzoo")
