/* Traps: where each kind comes from, delegated or not, and what it leaves in the registers. */
#include "tests/system/guest.h"

#define NOWHERE 0x18000000 /* nothing is mapped there */

static uint64_t words[8] __attribute__((aligned(64)));

static void one(const char *what, const char *piece, uint64_t a0, unsigned privilege)
{
    csr_write(mstatus, 0);
    csr_write(scause, 0);
    csr_write(sepc, 0);
    csr_write(stval, 0);
    RUN(piece, a0, privilege);
    show(what, piece);
    if (trap.cause == 9 && trap.epc == (uint64_t)s_trap) {
        line4("  first to S", csr_read(scause), csr_read(sepc) - (uint64_t)piece, csr_read(stval),
              csr_read(sstatus) & 0x122);
    }
}

static void all(unsigned p)
{
    line1("privilege", p);
    one("ecall", do_ecall, 0, p);
    one("ebreak", do_ebreak, 0, p);
    one("all ones", do_custom, 0, p);
    one("load from nowhere", do_load8, NOWHERE, p);
    one("store to nowhere", do_store8, NOWHERE + 8, p);
    one("lr of nowhere", do_lr, NOWHERE, p);
    one("amo on nowhere", do_amo, NOWHERE, p);
    one("jump to nowhere", do_jump, NOWHERE + 2, p);
    one("lr misaligned", do_lr, (uint64_t)words + 1, p);
    one("sc misaligned", do_sc, (uint64_t)words + 4, p);
    one("amo misaligned", do_amo, (uint64_t)words + 7, p);
    one("load misaligned", do_load8, (uint64_t)words + 1, p);
    one("no such register", do_csr_none, 0, p);
    one("read-only register", do_readonly, 0, p);
    one("satp", do_satp, 0, p);
    one("sret", do_sret, 0, p);
    one("mret", do_mret, 0, p);
    one("sfence.vma", do_sfence, 0, p);
    one("floating point off", do_fadd, 0, p);
    one("cbo.zero", do_zero, (uint64_t)words, p);
    one("cbo.clean", do_clean, (uint64_t)words, p);
    one("time", do_readonly, 0, p);
}

/* The switches of mstatus, and of counters and cache blocks, in S and U. */
static void switched(const char *what, const char *piece, uint64_t a0, uint64_t status, unsigned p)
{
    csr_write(mstatus, status);
    RUN(piece, a0, p);
    show(what, piece);
}

static void switches(void)
{
    for (unsigned p = U; p <= S; p++) {
        csr_write(mcounteren, 0);
        csr_write(scounteren, 0);
        switched("TVM: satp", do_satp, 0, 1 << 20, p);
        switched("TVM: sfence.vma", do_sfence, 0, 1 << 20, p);
        switched("TW: wfi", do_wfi, 0, 1 << 21, p);
        switched("TSR: sret", do_sret, 0, 1 << 22, p);
        csr_write(sepc, do_ecall);
        for (unsigned n = 0; n < 4; n++) {
            csr_write(mcounteren, n & 1 ? 2 : 0);
            csr_write(scounteren, n & 2 ? 2 : 0);
            RUN(do_time, 0, p);
            line4("counteren", n, trap.cause, trap.tval, trap.epc - (uint64_t)do_time);
        }
        for (unsigned n = 0; n < 4; n++) {
            csr_write(0x30a, n & 1 ? 0xc0 : 0);
            csr_write(senvcfg, n & 2 ? 0xc0 : 0);
            words[0] = 1;
            RUN(do_zero, words, p);
            line4("cbo.zero", n, trap.cause, trap.tval, words[0]);
            RUN(do_clean, words, p);
            line4("cbo.clean", n, trap.cause, trap.tval, trap.epc - (uint64_t)do_clean);
        }
        csr_write(0x30a, 0);
        csr_write(senvcfg, 0);
    }
}

/* mstatus.FS: what is legal, and what it becomes. */
static void floating_point(void)
{
    for (unsigned fs = 0; fs < 4; fs++) {
        csr_write(mstatus, fs << 13);
        RUN(do_fadd, 0, S);
        line4("fadd", fs, trap.cause, trap.tval, trap.status >> 13 & 3);
        csr_write(mstatus, fs << 13);
        RUN(do_fsd, words, U);
        line4("fsd", fs, trap.cause, trap.tval, trap.status >> 13 & 3);
        line1("  SD", trap.status >> 63);
    }
    csr_write(mstatus, 1 << 13);
    csr_write(fcsr, 0);
    line1("fcsr written", csr_read(mstatus) >> 13 & 3);
    csr_write(mstatus, 2 << 13);
    (void)csr_read(frm);
    line1("frm read", csr_read(mstatus) >> 13 & 3);
}

/* The stack of privileges and enables, through returns. */
static void stack(void)
{
    for (unsigned n = 0; n < 16; n++) {
        uint64_t status = (n & 1 ? 1u << 8 : 0) | (n & 2 ? 1u << 5 : 0) | (n & 4 ? 1u << 17 : 0);

        csr_write(mstatus, status);
        csr_write(sepc, do_ecall);
        RUN(do_sret, 0, S);
        line4("sret", n, trap.cause, trap.status & 0x1fffff, trap.status >> 11 & 3);
        csr_write(mstatus, status | (n & 8 ? 1u << 7 : 0));
        RUN(do_ecall, 0, n & 1);
        line4("mret", n, trap.cause, trap.status & 0x1fffff, csr_read(mstatus) & 0x1fffff);
    }
}

int main(void)
{
    open_memory();
    csr_write(0x30a, 0);
    for (unsigned p = 0; p < 4; p++) {
        if (p != 2) {
            csr_write(medeleg, 0);
            all(p);
            csr_write(medeleg, 0xb1ff & ~(1u << 9));
            all(p);
        }
    }
    csr_write(medeleg, 0);
    switches();
    floating_point();
    stack();
    return 0;
}
