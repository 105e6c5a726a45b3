# Unit tests: one C file each, TAP on stdout (tests/unit/tap.h).

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
