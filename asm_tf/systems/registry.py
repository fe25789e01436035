"""The systems by name, for command lines and tests."""

from asm_tf.systems.double_pendulum import DoublePendulum
from asm_tf.systems.myriad.bacteria import Bacteria
from asm_tf.systems.myriad.bioreactor import Bioreactor
from asm_tf.systems.myriad.cancer_treatment import CancerTreatment
from asm_tf.systems.myriad.harvest import Harvest
from asm_tf.systems.myriad.hiv_treatment import HIVTreatment
from asm_tf.systems.myriad.invasive_plant import InvasivePlant
from asm_tf.systems.myriad.mould_fungicide import MouldFungicide
from asm_tf.systems.myriad.timber_harvest import TimberHarvest
from asm_tf.systems.one_bounce import OneBounce
from asm_tf.systems.toy_credit_assignment import ToyCreditAssignment

MYRIAD = (CancerTreatment, Bioreactor, MouldFungicide, Bacteria, Harvest, InvasivePlant,
          HIVTreatment, TimberHarvest)
SYSTEMS = {system.__name__: system for system in MYRIAD + (
    ToyCreditAssignment, OneBounce, DoublePendulum)}
