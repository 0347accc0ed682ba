"""Fields that have a new name. The old name is refused with the new one: a spec keeps no aliases."""

RENAMED = {
    "mixer.persistence": "mixer.decay",
}
"""Old path -> new path, each from the nearest field that identifies it."""


def new_name(path: str) -> str | None:
    """The path of today for a path that ends in an old name, or None."""
    for old, new in RENAMED.items():
        if path == old or path.endswith(f".{old}"):
            return path.removesuffix(old) + new
    return None
