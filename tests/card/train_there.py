"""Tiny models on a card that is not there: `python -m tests.card.train_there LIBRARY OUT trained|used|judged NAME …`.

Writes what training found, what a trained run's commands print there and on the CPU, or the verdicts of properties,
whose names follow.
"""

import json
import sys
from pathlib import Path

from tests.card import library


def main(built: str, out: Path, what: str, name: str, properties: list[str]) -> None:
    """The card comes before torch."""
    library.load(Path(built))
    from tests.card import simulated

    simulated.put_in()
    from tests.card.tiny_experiments import judged, trained, used

    found = (
        judged(name, properties, out.parent)
        if what == "judged"
        else {"trained": trained, "used": used}[what](name, out.parent)
    )
    out.write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3], sys.argv[4], sys.argv[5:])
