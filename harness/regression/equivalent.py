"""Changes made by machine that change nothing anybody could see, each with the reason: they are not counted."""

from cortexzoo.harness.checking.mutants.generated import Site

EQUIVALENT: dict[str, str] = {}
"""By the name of the change without its line."""


def reason_of(site: Site) -> str | None:
    """Why a change is equivalent, if it is listed as such."""
    return EQUIVALENT.get(lasting_name(site))


def lasting_name(site: Site) -> str:
    """The name of a change that stays when lines above it change."""
    return site.name.replace(f":{site.line} ", " ", 1)
