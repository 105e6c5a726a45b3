/* mtime is written: what shows the same time, and timers that are armed, follow. */
#include "tests/system/guest.h"

#define TEST     (*(volatile uint32_t *)0x100000)
#define MTIMECMP (*(volatile uint64_t *)0x2004000)
#define MTIME    (*(volatile uint64_t *)0x200bff8)
#define MTIME_LO (*(volatile uint32_t *)0x200bff8)
#define MTIME_HI (*(volatile uint32_t *)0x200bffc)
/* Survives a reset. */
#define BEFORE (*(volatile uint64_t *)0x87000000)

#define BIT(n) (UINT64_C(1) << (n))
#define FAR    UINT64_C(1000000000) /* 100 s */
#define NEAR   UINT64_C(100000000)  /* longer than this guest runs */
#define LIMIT  UINT64_C(50000000)   /* a machine timer ends what does not end by itself */

/* Ticks ago. */
static bool recent(uint64_t now, uint64_t then)
{
    return now - then < NEAR;
}

/* Waits for bits of mip to be as wanted; not for ever. */
static uint64_t wait_mip(uint64_t bits, uint64_t want)
{
    for (unsigned i = 0; i < 300000 && (csr_read(mip) & bits) != want; i++) {
    }
    return csr_read(mip) & bits;
}

static void writes(void)
{
    static const uint64_t values[] = {0x123456789abc, 5, BIT(63), 0xffffffff};

    line1("at first", recent(MTIME, 0));
    for (unsigned i = 0; i < 4; i++) {
        MTIME = values[i];
        line4("written", recent(MTIME, values[i]), recent(csr_read(time), values[i]), i, 0);
    }
    MTIME = 0;
    MTIME_HI = 0x77;
    line4("high half", MTIME >> 32, csr_read(time) >> 32, MTIME_HI, recent(MTIME_LO, 0));
    MTIME_LO = 0x10000000;
    line4("low half", MTIME >> 32, csr_read(time) >> 32, recent(MTIME_LO, 0x10000000), 0);
    run_at((uint64_t)do_time, 0, M);
    line1("time in M", recent(MTIME, trap.a0));
}

static void machine_timer(void)
{
    MTIMECMP = MTIME + FAR;
    line1("mtimecmp ahead", csr_read(mip) & BIT(7));
    MTIME = MTIME + FAR + 1;
    line1("mtime past it", wait_mip(BIT(7), BIT(7)));
    MTIME = MTIME - FAR;
    line1("and back", wait_mip(BIT(7), 0));
    MTIMECMP = MTIME + FAR;
    csr_write(mie, BIT(7));
    csr_write(mstatus, BIT(7));
    MTIME = MTIME + FAR - 20000; /* 2 ms */
    RUN(do_spin, 0, M);
    line4("near to it, spinning", trap.cause, MTIME >= MTIMECMP, recent(MTIME, MTIMECMP), 0);
    MTIMECMP = MTIME + FAR;
    MTIME = MTIME + FAR - 20000;
    __asm__ volatile("wfi");
    line4("waiting", csr_read(mip) & BIT(7), MTIME >= MTIMECMP, recent(MTIME, MTIMECMP), 0);
    MTIMECMP = -1;
    csr_write(mie, 0);
}

static void one(const char *what, const char *piece)
{
    csr_write(scause, 0);
    csr_write(mstatus, BIT(1));
    RUN(piece, 0, S);
    line4(what, trap.cause, csr_read(scause), trap.status >> 11 & 3, csr_read(mip) & BIT(5));
}

static void supervisor_timer(void)
{
    csr_write(0x30a, BIT(63)); /* menvcfg.STCE */
    csr_write(mcounteren, -1);
    csr_write(0x14d, csr_read(time) + FAR); /* stimecmp */
    line1("stimecmp ahead", csr_read(mip) & BIT(5));
    MTIME = MTIME + FAR + 1;
    line1("mtime past it", wait_mip(BIT(5), BIT(5)));
    MTIME = MTIME - FAR;
    line1("and back", wait_mip(BIT(5), 0));
    csr_write(mideleg, BIT(5));
    csr_write(mie, BIT(5) | BIT(7));
    csr_write(0x14d, csr_read(time) + FAR);
    MTIME = MTIME + FAR - 20000;
    MTIMECMP = MTIME + LIMIT;
    one("near to it, spinning", do_spin);
    csr_write(0x14d, csr_read(time) + FAR);
    MTIME = MTIME + FAR - 20000;
    MTIMECMP = MTIME + LIMIT;
    one("waiting", do_wfi);
    csr_write(0x14d, csr_read(time) + FAR);
    MTIME = MTIME + FAR + 1;
    MTIMECMP = MTIME + LIMIT;
    one("past it", do_spin);
    csr_write(0x14d, csr_read(time) + 20000);
    MTIME = MTIME - FAR;
    MTIMECMP = MTIME + 1000000;
    one("away from it", do_spin);
    MTIMECMP = -1;
    csr_write(0x14d, -1);
    csr_write(mie, 0);
    csr_write(mideleg, 0);
}

int main(void)
{
    if (BEFORE == 0x1234) {
        BEFORE = 0;
        line4("after a reset", recent(MTIME, 0), recent(MTIME, BIT(40)), recent(csr_read(time), 0),
              MTIMECMP);
        return 0;
    }
    open_memory();
    writes();
    machine_timer();
    supervisor_timer();
    MTIME = BIT(40);
    BEFORE = 0x1234;
    TEST = 0x7777;
    for (;;) {
    }
}
