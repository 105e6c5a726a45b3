/*
 * Code that runs once: 240,000 instructions in a straight line with a branch in every eight. What
 * it takes beyond start-up is the cost of meeting new code. Guest only; no kernel.
 */
#include "tests/bench/bench.h"

enum { GROUPS = 30000, INSNS_PER_GROUP = 8 };

int main(void)
{
    uint64_t a = 1, b = 2;
    uint64_t memory[4] = {3, 5, 7, 11};

    __asm__ volatile(".rept %4\n"
                     "addi %0, %0, 13\n"
                     "xor  %1, %1, %0\n"
                     "slli t0, %1, 3\n"
                     "add  %0, %0, t0\n"
                     "ld   t1, 8(%2)\n"
                     "beqz %2, 2f\n2:\n"
                     "add  %1, %1, t1\n"
                     "sd   %1, 16(%2)\n"
                     ".endr\n"
                     : "+r"(a), "+r"(b)
                     : "r"(memory), "m"(memory), "i"(GROUPS)
                     : "t0", "t1", "memory");
    printf("insns %d\n", GROUPS * INSNS_PER_GROUP);
    printf("bits %llx\n", (unsigned long long)(a ^ b ^ memory[2]));
    return 0;
}
