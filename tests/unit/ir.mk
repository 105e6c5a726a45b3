# Unit tests of the IR and its optimiser.

unit-tests += ir-build ir-fold ir-dce jit-options
unit-libs-ir-build := jit util
unit-libs-ir-fold := jit util
unit-libs-ir-dce := jit util
unit-libs-jit-options := jit util
