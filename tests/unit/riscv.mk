# Unit tests of target/riscv/, but for softfp and crypto.

unit-tests += riscv-model riscv-decode riscv-disas riscv-insn
unit-libs-riscv-model := riscv mem jit util
unit-libs-riscv-decode := riscv mem jit util
unit-libs-riscv-insn := riscv mem jit util
unit-libs-riscv-disas := riscv mem jit util
