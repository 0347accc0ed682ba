"""The network of one run on its processes: the same weights on all of them, or a share on each.

Policies always see whole weights in `trainer.model`, except between the two gradient moments and the optimiser.
"""

from cortexzoo.specs.guards import AGC, AdaGC
from cortexzoo.specs.parallel import DataParallel, FullySharded, OneProcess
from cortexzoo.specs.recipe import RecipeSpec
from cortexzoo.zoo.errors import SetupError
from cortexzoo.zoo.training.objectives.base import Objective
from cortexzoo.zoo.training.ranks import Ranks
from cortexzoo.zoo.training.replicated import Model, Parallel, Replicated


def spread_over(model: Model, objective: Objective, recipe: RecipeSpec, ranks: Ranks) -> Parallel:
    """The network as `recipe.parallel` describes it. Raises `SetupError` when that does not suit the processes."""
    match recipe.parallel:
        case OneProcess():
            if ranks.count > 1:
                raise SetupError(f"recipe.parallel.kind must be ddp or fsdp2 with {ranks.count} processes, got none")
            return Replicated(model, objective, ranks)
        case DataParallel():
            return Replicated(model, objective, ranks)
        case FullySharded():
            if ranks.count == 1:
                raise SetupError(
                    "recipe.parallel.kind must be ddp or none with one process, got fsdp2: there is nothing to share; "
                    "torchrun --nproc-per-node 2 starts two"
                )
            if isinstance(recipe.clipping, AGC | AdaGC):
                raise SetupError(
                    "recipe.clipping.kind must be norm, adaptive, zclip or none with fsdp2, "
                    f"got {recipe.clipping.kind}, which needs the norm of each whole gradient"
                )
            from cortexzoo.zoo.training.sharded import Sharded  # torch's FSDP takes half a second to import

            return Sharded(model, objective, ranks)
