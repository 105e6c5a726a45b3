src-linux-user += linux-user/riscv/abi.c
src-linux-user += linux-user/riscv/isa.c
src-linux-user += linux-user/riscv/vdso.c
src-linux-user += linux-user/riscv/sigframe.c
src-linux-user += linux-user/riscv/syscall.c
