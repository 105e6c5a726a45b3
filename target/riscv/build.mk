# Integer helpers of the RISC-V front end.
src-riscv += target/riscv/crypto.c
src-riscv += target/riscv/softfp.c
src-riscv += target/riscv/softfp-arith.c
src-riscv += target/riscv/softfp-compare.c
src-riscv += target/riscv/softfp-convert.c
src-riscv += target/riscv/softfp-fli.c
