# Unit tests of target/riscv/, but for softfp and crypto.

unit-tests += riscv-model riscv-decode
unit-libs-riscv-model := riscv jit util
unit-libs-riscv-decode := riscv jit util
