# Unit tests of target/riscv/, but for softfp and crypto.

unit-tests += riscv-model riscv-decode riscv-disas riscv-insn
unit-libs-riscv-model := riscv cpu mem jit util
unit-libs-riscv-decode := riscv cpu mem jit util
unit-libs-riscv-insn := riscv cpu mem jit util
unit-libs-riscv-disas := riscv cpu mem jit util

# The privileged architecture.
unit-tests += riscv-pmp riscv-mmu riscv-trap riscv-priv
unit-libs-riscv-pmp := riscv cpu mem jit util
unit-libs-riscv-mmu := riscv cpu mem jit util
unit-libs-riscv-trap := riscv cpu mem jit util
unit-libs-riscv-priv := riscv cpu mem jit util
unit-tests += riscv-state
unit-libs-riscv-state := riscv cpu mem jit util
