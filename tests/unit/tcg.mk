# Unit tests of accel/tcg/.

unit-tests += tcg-perf
unit-libs-tcg-perf := tcg riscv cpu mem jit util
unit-tests += tcg-regions
unit-libs-tcg-regions := tcg riscv cpu mem jit util
unit-tests += tcg-pause
unit-libs-tcg-pause := accel tcg riscv cpu mem jit util

# Debugging services, with harts on threads.
unit-tests += tcg-watch tcg-debug tcg-state
unit-libs-tcg-watch := tcg accel riscv cpu mem jit util
unit-libs-tcg-debug := tcg accel riscv cpu mem jit util
unit-libs-tcg-state := tcg accel riscv cpu mem jit util
