# Unit tests of mem/: address spaces and RAM.

unit-tests += mem-guest mem-space mem-access mem-ram
unit-libs-mem-guest := mem util
unit-libs-mem-space := mem util
unit-libs-mem-access := mem util
unit-libs-mem-ram := mem util
