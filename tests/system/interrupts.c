/* Interrupts: sources, delegation, vectors, priorities, wfi, and unmasking inside of a unit. */
#include "tests/system/guest.h"

#define MSIP     (*(volatile uint32_t *)0x2000000)
#define MTIMECMP (*(volatile uint64_t *)0x2004000)
#define MTIME    (*(volatile uint64_t *)0x200bff8)

#define BIT(n) (UINT64_C(1) << (n))

static void one(const char *what, const char *piece, unsigned privilege)
{
    RUN(piece, 0, privilege);
    line4(what, trap.cause, trap.status >> 11 & 3, csr_read(scause), csr_read(mip) & 0xaaa);
}

static void software(void)
{
    csr_write(mstatus, BIT(3) | BIT(7)); /* MIE, MPIE */
    csr_write(mie, 0);
    MSIP = 1;
    while (!(csr_read(mip) & BIT(3))) {
    }
    line1("MSIP is pending", csr_read(mip));
    one("not enabled", do_ecall, M);
    csr_write(mie, BIT(3));
    csr_write(mstatus, 0);
    one("M, masked", do_ecall, M);
    csr_write(mstatus, BIT(7));
    one("M, by mret", do_ecall, M);
    csr_write(mstatus, 0);
    one("S: M's are not masked there", do_ecall, S);
    one("U", do_ecall, U);
    csr_write(mtvec, (uint64_t)m_vector | 1);
    one("vectored", do_ecall, U);
    line1("  entry", trap.t2);
    RUN(do_ebreak, 0, U);
    line4("exceptions are not", trap.cause, trap.t2 == 100, 0, 0);
    csr_write(mtvec, m_trap);
    MSIP = 0;
    while (csr_read(mip) & BIT(3)) {
    }
    line1("MSIP is gone", csr_read(mip));
}

/* Bits of supervisor level, set by software, delegated or not. */
static void supervisor(void)
{
    static const uint8_t irqs[] = {1, 5, 9};

    for (unsigned n = 0; n < 3; n++) {
        for (unsigned deleg = 0; deleg < 2; deleg++) {
            csr_write(mideleg, deleg ? BIT(irqs[n]) : 0);
            csr_write(mie, BIT(irqs[n]));
            csr_write(mip, BIT(irqs[n]));
            line4("irq", irqs[n], deleg, csr_read(sip), csr_read(sie));
            for (unsigned sie = 0; sie < 2; sie++) {
                for (unsigned p = U; p <= S; p++) {
                    csr_write(scause, 0);
                    csr_write(mstatus, sie ? BIT(1) : 0);
                    one(sie ? "SIE" : "no SIE", do_ecall, p);
                }
            }
            csr_write(mip, 0);
        }
    }
    csr_write(mideleg, 0);
}

static void priorities(void)
{
    MSIP = 1;
    MTIMECMP = 0;
    csr_write(mstatus, 0);
    csr_write(mip, BIT(1) | BIT(5) | BIT(9));
    while ((csr_read(mip) & 0x2aa) != 0x2aa) {
    }
    for (uint64_t deleg = 0; deleg < 8; deleg++) {
        uint64_t mideleg =
            (deleg & 1 ? BIT(1) : 0) | (deleg & 2 ? BIT(5) : 0) | (deleg & 4 ? BIT(9) : 0);
        uint64_t left = 0x2aa;

        csr_write(mideleg, mideleg);
        while (left) {
            uint64_t irq;
            csr_write(mie, left);
            csr_write(scause, 0);
            RUN(do_ecall, 0, U);
            irq = trap.cause >> 63 ? trap.cause & 63 : csr_read(scause) & 63;
            line4("first", deleg, left, trap.cause, irq);
            if (!irq) {
                break;
            }
            left &= ~BIT(irq);
        }
    }
    csr_write(mideleg, 0);
    csr_write(mie, 0);
    csr_write(mip, 0);
    MSIP = 0;
    MTIMECMP = -1;
}

/* Both timers: while waiting, while spinning, and one that is due at once. */
static void timers(void)
{
    csr_write(mstatus, 0);
    csr_write(scause, 0);
    csr_write(mie, BIT(7));
    MTIMECMP = MTIME + 20000; /* 2 ms */
    one("mtimecmp, spinning", do_spin, U);
    MTIMECMP = MTIME + 20000;
    one("mtimecmp, waiting", do_wfi, S);
    MTIMECMP = MTIME + 20000;
    __asm__ volatile("wfi");
    line1("wfi ends though masked", csr_read(mip) >> 7 & 1);
    MTIMECMP = -1;
    csr_write(0x30a, BIT(63));
    csr_write(0x14d, -1);
    csr_write(mideleg, BIT(5));
    csr_write(mie, BIT(5));
    for (unsigned n = 0; n < 20; n++) {
        csr_write(0x14d, csr_read(time) + (n & 1 ? 10000 : 0));
        csr_write(scause, 0);
        one("stimecmp, spinning", do_spin, U);
        csr_write(0x14d, -1);
    }
    csr_write(0x14d, csr_read(time) + 10000);
    __asm__ volatile("wfi");
    line1("wfi ends", csr_read(mip) >> 5 & 1);
    line1("not before it is time", csr_read(time) >= csr_read(0x14d));
    csr_write(mip, 0);
    line1("STIP is read-only", csr_read(mip) >> 5 & 1);
    csr_write(0x14d, -1);
    line1("and gone", csr_read(mip) >> 5 & 1);
    csr_write(0x30a, 0);
    csr_write(mideleg, 0);
}

/* The handler of S for unmask(): clears SSIP and counts. */
static volatile uint64_t handled;

static __attribute__((interrupt("supervisor"), aligned(4))) void s_handler(void)
{
    csr_clear(sip, 2);
    handled++;
}

/* Runs in S: raises SSIP and unmasks it in various ways; what is counted when. */
static void unmask(void)
{
    uint64_t counts = 0;

    csr_clear(sstatus, 2);
    csr_set(sip, 2);
    counts = handled;
    csr_set(sstatus, 2); /* pending: is taken before the next instruction has an effect */
    counts = counts << 8 | handled;
    csr_set(sip, 2); /* enabled */
    counts = counts << 8 | handled;
    csr_clear(sie, 2);
    csr_set(sip, 2);
    counts = counts << 8 | handled;
    csr_set(sie, 2);
    counts = counts << 8 | handled;
    __asm__ volatile("csrci sstatus, 2\n\tcsrsi sip, 2\n\tcsrsi sstatus, 2\n\tcsrci sstatus, 2");
    counts = counts << 8 | handled;
    csr_clear(sstatus, 2);
    __asm__ volatile("mv a0, %0\n\tecall" ::"r"(counts) : "a0");
}

int main(void)
{
    open_memory();
    MTIMECMP = -1;
    software();
    supervisor();
    priorities();
    timers();
    csr_write(mideleg, 2);
    csr_write(mie, 2);
    csr_write(stvec, s_handler);
    csr_write(mstatus, 0);
    for (unsigned n = 0; n < 5; n++) {
        handled = 0;
        RUN(unmask, 0, S);
        line4("unmasked", trap.cause, trap.a0, handled, csr_read(sip));
    }
    return 0;
}
