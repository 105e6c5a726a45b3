# Unit tests: one C file each, TAP on stdout.

unit-tests += ir-build
unit-libs-ir-build := jit util
unit-tests += ir-fold
unit-libs-ir-fold := jit util
unit-tests += ir-dce
unit-libs-ir-dce := jit util
unit-tests += jit-options
unit-libs-jit-options := jit util
