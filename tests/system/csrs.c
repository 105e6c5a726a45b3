/* Every CSR number: is it there for M, and what becomes of all ones and all zeros written to it. */
#include "tests/system/guest.h"

static uint32_t code[8];

static uint64_t exec(unsigned csr, unsigned funct3, uint64_t a0)
{
    code[0] = csr << 20 | 10 << 15 | funct3 << 12 | 10 << 7 | 0x73; /* csrrX a0, csr, a0 */
    code[1] = 0x73;
    __asm__ volatile("fence.i" ::: "memory");
    return RUN(code, a0, M);
}

/* Registers whose value is a matter of time, or of the machine; and those that must keep theirs. */
static bool is_special(unsigned csr)
{
    return (csr >= 0xb00 && csr <= 0xb1f) || (csr >= 0xc00 && csr <= 0xc1f) ||
           (csr >= 0xf11 && csr <= 0xf15) || csr == 0x305 || csr == 0x301 || csr == 0x344 ||
           csr == 0x144 || (csr >= 0x3a0 && csr <= 0x3ef) || (csr >= 0x323 && csr <= 0x33f) ||
           (csr >= 0x7a0 && csr <= 0x7af) || csr == 0x14d || csr == 0x341 || csr == 0x342 ||
           csr == 0x343 || csr == 0x747;
}

int main(void)
{
    csr_set(mstatus, 3 << 13);
    for (unsigned csr = 0; csr < 4096; csr++) {
        uint64_t old, ones, zeros;

        code[0] = csr << 20 | 2 << 12 | 10 << 7 | 0x73; /* csrrs a0, csr, x0 */
        code[1] = 0x73;
        __asm__ volatile("fence.i" ::: "memory");
        if (RUN(code, 0, M) != 11) {
            continue;
        }
        old = trap.a0;
        if (csr >> 10 == 3 || is_special(csr)) {
            line1("csr", csr);
            continue;
        }
        exec(csr, 1, -1);
        exec(csr, 1, 0);
        ones = trap.a0;
        exec(csr, 1, old);
        zeros = trap.a0;
        line4("csr", csr, old, ones, zeros);
    }
    return 0;
}
