unit-tests += user-regions user-mm user-elf user-path user-vdso
unit-libs-user-regions := linux-user util
unit-libs-user-mm := linux-user mem util
unit-libs-user-elf := linux-user util
unit-libs-user-path := linux-user mem util
unit-libs-user-vdso := linux-user tcg riscv cpu mem jit util
