# Unit tests: one C file each, TAP on stdout.

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
unit-tests += ir-build
unit-libs-ir-build := jit util
unit-tests += ir-fold
unit-libs-ir-fold := jit util
unit-tests += ir-dce
unit-libs-ir-dce := jit util
unit-tests += jit-options
unit-libs-jit-options := jit util
