#include "cpu/cpu.h"

struct cpu_jump cpu_no_jumps[CPU_JUMP_CACHE_SIZE];
