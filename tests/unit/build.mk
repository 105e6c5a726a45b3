# Unit tests: one C file each, TAP on stdout (tests/unit/tap.h).

unit-tests += util_bits util_arena util_lock util_log util_disas
unit-libs-util_bits := util
unit-libs-util_arena := util
unit-libs-util_lock := util
unit-libs-util_log := util
unit-libs-util_disas := util

unit-tests += riscv-crypto
unit-libs-riscv-crypto := riscv util

unit-tests += softfp
unit-libs-softfp := riscv util

unit-tests += softfp-exact
unit-libs-softfp-exact := riscv util

unit-tests += softfp-convert
unit-libs-softfp-convert := riscv util

unit-tests += softfp-compare
unit-libs-softfp-compare := riscv util
