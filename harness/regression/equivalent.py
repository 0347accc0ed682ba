"""Changes made by machine that change nothing anybody could see, each with the reason: they are not counted."""

from cortexzoo.harness.checking.mutants.generated import Site

EQUIVALENT: dict[str, str] = {}
"""By the lasting name of the change."""


def reason_of(site: Site) -> str | None:
    """Why a change is equivalent, if it is listed as such."""
    return EQUIVALENT.get(site.lasting_name)
