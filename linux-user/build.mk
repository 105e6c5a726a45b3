# User-mode emulation; the library has everything but main().
src-linux-user += linux-user/elf.c
src-linux-user += linux-user/elf-load.c
src-linux-user += linux-user/elf-stack.c
src-linux-user += linux-user/exec.c
src-linux-user += linux-user/mm.c
src-linux-user += linux-user/mm-shm.c
src-linux-user += linux-user/options.c
src-linux-user += linux-user/path.c
src-linux-user += linux-user/procfs.c
src-linux-user += linux-user/regions.c
src-linux-user += linux-user/run.c
src-linux-user += linux-user/strace.c
src-linux-user += linux-user/symbols.c
src-linux-user += linux-user/syscall.c
src-linux-user += linux-user/syscall-mm.c
src-linux-user += linux-user/user.c
src-linux-user += linux-user/safe-syscall.S
src-linux-user += linux-user/signal.c
src-linux-user += linux-user/syscall-file.c
src-linux-user += linux-user/syscall-ipc.c
src-linux-user += linux-user/syscall-pass.c
src-linux-user += linux-user/syscall-process.c
src-linux-user += linux-user/syscall-signal.c
src-linux-user += linux-user/syscall-wait.c
src-linux-user += linux-user/thread.c

check-tests += tests/options/run tests/options/manual
