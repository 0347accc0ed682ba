"""All mutants."""

from cortexzoo.harness.checking.mutants.base import Mutant
from cortexzoo.harness.checking.mutants.beyond_hosts_mutants import BEYOND_HOSTS_MUTANTS
from cortexzoo.harness.checking.mutants.data_mutants import DATA_MUTANTS
from cortexzoo.harness.checking.mutants.guard_mutants import GUARD_MUTANTS
from cortexzoo.harness.checking.mutants.hybrid_mutants import HYBRID_MUTANTS
from cortexzoo.harness.checking.mutants.measuring_mutants import MEASURING_MUTANTS
from cortexzoo.harness.checking.mutants.memory_mutants import MEMORY_MUTANTS
from cortexzoo.harness.checking.mutants.model_mutants import MODEL_MUTANTS
from cortexzoo.harness.checking.mutants.once_missed_mutants import ONCE_MISSED_MUTANTS
from cortexzoo.harness.checking.mutants.op_mutants import OP_MUTANTS
from cortexzoo.harness.checking.mutants.overlooked_mutants import OVERLOOKED_MUTANTS
from cortexzoo.harness.checking.mutants.own_loop_mutants import OWN_LOOP_MUTANTS
from cortexzoo.harness.checking.mutants.process_mutants import PROCESS_MUTANTS
from cortexzoo.harness.checking.mutants.read_mutants import READ_MUTANTS
from cortexzoo.harness.checking.mutants.sampled_mutants import SAMPLED_MUTANTS
from cortexzoo.harness.checking.mutants.sleep_mutants import SLEEP_MUTANTS
from cortexzoo.harness.checking.mutants.step_mutants import STEP_MUTANTS
from cortexzoo.harness.checking.mutants.training_mutants import TRAINING_MUTANTS
from cortexzoo.harness.checking.mutants.written_out_mutants import WRITTEN_OUT_MUTANTS

MUTANTS: tuple[Mutant, ...] = (
    *MODEL_MUTANTS,
    *MEMORY_MUTANTS,
    *TRAINING_MUTANTS,
    *WRITTEN_OUT_MUTANTS,
    *ONCE_MISSED_MUTANTS,
    *STEP_MUTANTS,
    *GUARD_MUTANTS,
    *DATA_MUTANTS,
    *MEASURING_MUTANTS,
    *SLEEP_MUTANTS,
    *HYBRID_MUTANTS,
    *OP_MUTANTS,
    *SAMPLED_MUTANTS,
    *OWN_LOOP_MUTANTS,
    *PROCESS_MUTANTS,
    *BEYOND_HOSTS_MUTANTS,
    *READ_MUTANTS,
    *OVERLOOKED_MUTANTS,
)
