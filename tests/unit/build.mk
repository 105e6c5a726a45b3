# Unit tests: one C file each, TAP on stdout (tests/unit/tap.h).

unit-tests += util_bits util_arena util_lock util_log util_disas
unit-libs-util_bits := util
unit-libs-util_arena := util
unit-libs-util_lock := util
unit-libs-util_log := util
unit-libs-util_disas := util

unit-tests += mem_guest
unit-libs-mem_guest := mem util
