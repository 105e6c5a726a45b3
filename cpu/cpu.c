#include "cpu/cpu.h"
#include "cpu/system.h"

struct cpu_jump cpu_no_jumps[CPU_JUMP_CACHE_MAX];
const struct cpu_memory_ops *cpu_memory;
