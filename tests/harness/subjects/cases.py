"""All defective and healthy modules of this folder, as `cortexzoo study detection` reads them."""

from tests.harness.subjects import (
    defective,
    fifth_sample,
    healthy,
    long_and_padded,
    second_sample,
    seventh_sample,
    sixth_sample,
    third_sample,
    unseen,
)

DEFECTS = {
    **defective.DEFECTIVE,
    **long_and_padded.UNSOUND,
    **unseen.UNSEEN,
    **second_sample.SECOND,
    **third_sample.THIRD,
    **fifth_sample.FIFTH,
    **sixth_sample.SIXTH,
    **seventh_sample.SEVENTH,
}
HEALTHY = {
    **healthy.HEALTHY,
    **long_and_padded.SOUND,
    **second_sample.NEAR,
    **third_sample.TWINS,
    **fifth_sample.UNHARMED,
    **sixth_sample.UNTOUCHED,
    **seventh_sample.SPARED,
}
