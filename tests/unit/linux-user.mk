unit-tests += user_regions user_mm user_elf user_path user_vdso
unit-libs-user_regions := linux-user util
unit-libs-user_mm := linux-user mem util
unit-libs-user_elf := linux-user util
unit-libs-user_path := linux-user mem util
unit-libs-user_vdso := linux-user tcg riscv cpu mem jit util
