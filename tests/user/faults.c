/*
 * Synchronous faults: the signal, si_code, si_addr and every register are what RISC-V Linux on
 * hardware gives.
 *
 * A probe is a function of one instruction and a return, so that the faulting pc is the function's
 * address.  The handler records what it got and jumps out.  The test of register state loads all
 * 31 registers, gp, tp and sp included, with known values, changes them in a loop, and faults in
 * its middle; its handler enters through a stub that restores gp and tp first.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <ucontext.h>

#include "tests/user/tap.h"

static sigjmp_buf escape;
static volatile int got_signal, got_code;
static volatile uint64_t got_addr, got_pc;

static void on_fault(int sig, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;

    got_signal = sig;
    got_code = info->si_code;
    got_addr = (uint64_t)info->si_addr;
    got_pc = uc->uc_mcontext.__gregs[REG_PC];
    siglongjmp(escape, 1);
}

static void catch_faults(void (*handler)(int, siginfo_t *, void *))
{
    static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGTRAP, SIGFPE};
    struct sigaction sa = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_ONSTACK};

    for (unsigned i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
        sigaction(signals[i], &sa, NULL);
}

#define PROBE(name, insn)                                                  \
    extern uint64_t probe_##name(uint64_t addr);                           \
    __asm__(".text\n.balign 4\n.globl probe_" #name "\n.type probe_" #name \
            ", @function\nprobe_" #name ":\n" insn "\nret\n");

PROBE(lb, "lb a0, 0(a0)")
PROBE(lhu, "lhu a0, 0(a0)")
PROBE(lw, "lw a1, 0(a0)")
PROBE(ld, "ld a0, 0(a0)")
PROBE(c_ld, ".option push; .option rvc; c.ld a1, 0(a0); .option pop")
PROBE(flw, "flw fa0, 0(a0)")
PROBE(fld, "fld fa0, 0(a0)")
PROBE(lr, "lr.w a1, (a0)")
PROBE(sb, "sb a1, 0(a0)")
PROBE(sh, "sh a1, 0(a0)")
PROBE(sw, "sw zero, 0(a0)")
PROBE(sd, "sd a1, 0(a0)")
PROBE(fsd, "fsd fa0, 0(a0)")
PROBE(amoadd, "amoadd.w a1, a1, (a0)")
PROBE(amoswap, "amoswap.d zero, a1, (a0)")
PROBE(ld_x0, "ld zero, 0(a0)")
PROBE(amocas_q, ".word 0x28e5462f") /* amocas.q a2, a4, (a0) */
PROBE(zeros, ".half 0")
PROBE(ones, ".word 0xffffffff")
PROBE(mstatus, "csrr a0, 0x300")
PROBE(write_cycle, "csrw 0xc00, a0")
PROBE(sret, ".word 0x10200073")
PROBE(ebreak, ".word 0x00100073")
PROBE(c_ebreak, ".half 0x9002")

struct probe {
    const char *name;
    uint64_t (*run)(uint64_t);
    int writes;
};
static const struct probe probes[] = {
    {"lb", probe_lb, 0},           {"lhu", probe_lhu, 0},
    {"lw", probe_lw, 0},           {"ld", probe_ld, 0},
    {"c.ld", probe_c_ld, 0},       {"flw", probe_flw, 0},
    {"fld", probe_fld, 0},         {"lr.w", probe_lr, 0},
    {"ld to x0", probe_ld_x0, 0},  {"sb", probe_sb, 1},
    {"sh", probe_sh, 1},           {"sw", probe_sw, 1},
    {"sd", probe_sd, 1},           {"fsd", probe_fsd, 1},
    {"amoadd.w", probe_amoadd, 1}, {"amoswap.d", probe_amoswap, 1},
};
enum { PROBES = sizeof(probes) / sizeof(probes[0]) };

/* Runs fn(addr) and checks signal, code, si_addr and pc; signal 0 means that it returns. */
static void expect(const char *what, uint64_t (*fn)(uint64_t), uint64_t addr, int sig, int code,
                   uint64_t fault_addr, uint64_t pc)
{
    got_signal = 0;
    if (!sigsetjmp(escape, 1))
        fn(addr);
    if (sig == 0) {
        ok(got_signal == 0, "%s: no fault", what);
        return;
    }
    if (!ok(got_signal == sig && got_code == code && got_addr == fault_addr && got_pc == pc, "%s",
            what))
        note("signal %d code %d addr 0x%llx pc 0x%llx; expected %d %d 0x%llx 0x%llx", got_signal,
             got_code, (unsigned long long)got_addr, (unsigned long long)got_pc, sig, code,
             (unsigned long long)fault_addr, (unsigned long long)pc);
}

static void expect_all(const char *where, uint64_t addr, int code, int reads_fault)
{
    char what[80];

    for (int i = 0; i < PROBES; i++) {
        const struct probe *p = &probes[i];
        int faults = p->writes || reads_fault;

        snprintf(what, sizeof(what), "%s: %s", where, p->name);
        expect(what, p->run, addr, faults ? SIGSEGV : 0, code, addr, (uint64_t)p->run);
    }
}

static char *map(size_t size, int prot)
{
    return mmap(NULL, size, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void test_access(void)
{
    long page = sysconf(_SC_PAGESIZE);
    char *hole = map(3 * (size_t)page, PROT_READ | PROT_WRITE);
    char *readonly = map((size_t)page, PROT_READ), *none = map((size_t)page, PROT_NONE);

    munmap(hole + page, (size_t)page);
    expect_all("unmapped", (uint64_t)hole + (uint64_t)page + 128, SEGV_MAPERR, 1);
    expect_all("null", 0, SEGV_MAPERR, 1);
    expect_all("read-only", (uint64_t)readonly + 64, SEGV_ACCERR, 0);
    expect_all("PROT_NONE", (uint64_t)none + 4088, SEGV_ACCERR, 1);
    /*
     * Sv48's user half ends at 2^47.  The kernel reports the address as it was computed.  QEMU's
     * user mode gets no address from the x86-64 host for a non-canonical one and reports 0.
     */
    expect_all("non-canonical", 0x0123456789abcde0, SEGV_MAPERR, 1);
    expect_all("kernel half", 0xffffffff80000000, SEGV_MAPERR, 1);
    expect_all("last page", 0xfffffffffffff000, SEGV_MAPERR, 1);
    /* Not one host instruction: the access is made by a function of the emulator. */
    expect("null: amocas.q", probe_amocas_q, 0, SIGSEGV, SEGV_MAPERR, 0, (uint64_t)probe_amocas_q);
    expect("read-only: amocas.q", probe_amocas_q, (uint64_t)readonly + 64, SIGSEGV, SEGV_ACCERR,
           (uint64_t)readonly + 64, (uint64_t)probe_amocas_q);
    /* Privileged specification, stval: the address of the portion that faulted. */
    expect("load straddling into a hole", probe_ld, (uint64_t)hole + (uint64_t)page - 4, SIGSEGV,
           SEGV_MAPERR, (uint64_t)hole + (uint64_t)page, (uint64_t)probe_ld);
    memset(hole + page - 4, 0x55, 4);
    expect("store straddling into a hole", probe_sd, (uint64_t)hole + (uint64_t)page - 4, SIGSEGV,
           SEGV_MAPERR, (uint64_t)hole + (uint64_t)page, (uint64_t)probe_sd);
}

static uint64_t call(uint64_t addr)
{
    uint64_t result;

    __asm__ volatile("jalr ra, 0(%1)\n mv %0, a0" : "=r"(result) : "r"(addr) : "ra", "a0");
    return result;
}

/* "ret" without a call before it. */
static uint64_t return_to(uint64_t at)
{
    __asm__ volatile("mv ra, %0\n\tret" : : "r"(at) : "ra", "memory");
    return at;
}

static void test_jumps(void)
{
    static const uint32_t code[] = {0x00700513, 0x00008067}; /* li a0, 7; ret */
    char *page = map(4096, PROT_READ | PROT_WRITE), *gone = map(4096, PROT_READ);
    uint64_t at = (uint64_t)page;

    memcpy(page, code, sizeof(code));
    munmap(gone, 4096);
    expect("jump to a page without PROT_EXEC", call, at, SIGSEGV, SEGV_ACCERR, at, at);
    expect("jump to an unmapped page", call, (uint64_t)gone, SIGSEGV, SEGV_MAPERR, (uint64_t)gone,
           (uint64_t)gone);
    expect("jump to null", call, 0, SIGSEGV, SEGV_MAPERR, 0, 0);
    /* bit 0 of a target is ignored */
    expect("jump to 1", call, 1, SIGSEGV, SEGV_MAPERR, 0, 0);
    expect("jump to 3", call, 3, SIGSEGV, SEGV_MAPERR, 2, 2);
    expect("return to null", return_to, 0, SIGSEGV, SEGV_MAPERR, 0, 0);
    expect("return to 1", return_to, 1, SIGSEGV, SEGV_MAPERR, 0, 0);
    expect("jump to a non-canonical address", call, 0x4000000000001000, SIGSEGV, SEGV_MAPERR,
           0x4000000000001000, 0x4000000000001000);
    mprotect(page, 4096, PROT_READ | PROT_EXEC);
    __builtin___clear_cache(page, page + sizeof(code));
    is(call(at), 7, "the same page with PROT_EXEC runs");
    is(call(at + 1), 7, "jalr clears bit 0 of its target");
    expect("a store to code", probe_sd, at, SIGSEGV, SEGV_ACCERR, at, (uint64_t)probe_sd);
    mprotect(page, 4096, PROT_NONE);
    expect("jump to code made PROT_NONE", call, at, SIGSEGV, SEGV_ACCERR, at, at);
    munmap(page, 4096);
    expect("jump to code unmapped since", call, at, SIGSEGV, SEGV_MAPERR, at, at);
}

static void test_others(void)
{
    char name[] = "/tmp/faults-XXXXXX";
    int fd = mkstemp(name);
    char *file;
    static const struct {
        const char *name;
        uint64_t (*run)(uint64_t);
    } illegal[] = {
        {"16 zero bits", probe_zeros},
        {"32 one bits", probe_ones},
        {"csrr mstatus", probe_mstatus},
        {"csrw cycle", probe_write_cycle},
        {"sret", probe_sret},
    };

    unlink(name);
    ok(ftruncate(fd, 100) == 0, "file of 100 bytes");
    file = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    expect("last page of a file: bytes past its end", probe_ld, (uint64_t)file + 200, 0, 0, 0, 0);
    expect("SIGBUS on a load beyond the file", probe_ld, (uint64_t)file + 4096, SIGBUS, BUS_ADRERR,
           (uint64_t)file + 4096, (uint64_t)probe_ld);
    expect("SIGBUS on a store beyond the file", probe_sb, (uint64_t)file + 8191, SIGBUS, BUS_ADRERR,
           (uint64_t)file + 8191, (uint64_t)probe_sb);
    close(fd);
    for (unsigned i = 0; i < sizeof(illegal) / sizeof(illegal[0]); i++) {
        char what[64];

        snprintf(what, sizeof(what), "SIGILL on %s", illegal[i].name);
        expect(what, illegal[i].run, 0, SIGILL, ILL_ILLOPC, (uint64_t)illegal[i].run,
               (uint64_t)illegal[i].run);
    }
    expect("SIGTRAP on ebreak", probe_ebreak, 0, SIGTRAP, TRAP_BRKPT, (uint64_t)probe_ebreak,
           (uint64_t)probe_ebreak);
    expect("SIGTRAP on c.ebreak", probe_c_ebreak, 0, SIGTRAP, TRAP_BRKPT, (uint64_t)probe_c_ebreak,
           (uint64_t)probe_c_ebreak);
}

/* ---- register state ---- */

uint64_t state_in[32], state_f_in[32], state_save[32], state_gp, state_tp;
static ucontext_t state_got;
extern char state_fault[], state_recover[];
extern void state_run(void);
extern void state_entry(int, siginfo_t *, void *);

#define LD8(n)  "ld x" #n ", 8*" #n "(x31)\n"
#define FLD8(n) "fld f" #n ", 8*" #n "(x30)\n"

__asm__(".text\n.option push\n.option norelax\n.balign 4\n"
        "state_run:\n"
        " lla t0, state_save\n"
        " sd ra, 0(t0)\n sd sp, 8(t0)\n sd gp, 16(t0)\n sd tp, 24(t0)\n"
        " sd s0, 32(t0)\n sd s1, 40(t0)\n sd s2, 48(t0)\n sd s3, 56(t0)\n sd s4, 64(t0)\n"
        " sd s5, 72(t0)\n sd s6, 80(t0)\n sd s7, 88(t0)\n sd s8, 96(t0)\n sd s9, 104(t0)\n"
        " sd s10, 112(t0)\n sd s11, 120(t0)\n"
        " fsd fs0, 128(t0)\n fsd fs1, 136(t0)\n"
        " lla x30, state_f_in\n" FLD8(0) FLD8(1) FLD8(2) FLD8(3) FLD8(4) FLD8(5) FLD8(6) FLD8(7)
            FLD8(8) FLD8(9) FLD8(10) FLD8(11) FLD8(12) FLD8(13) FLD8(14) FLD8(15) FLD8(16) FLD8(17)
                FLD8(18) FLD8(19) FLD8(20) FLD8(21) FLD8(22) FLD8(23) FLD8(24) FLD8(25) FLD8(26)
                    FLD8(27) FLD8(28) FLD8(29) FLD8(30) FLD8(
                        31) " li x30, 0x44\n fscsr x30\n" /* round down; overflow has happened */
                            " lla x31, state_in\n" LD8(1) LD8(2) LD8(3) LD8(4) LD8(5) LD8(6) LD8(7)
                                LD8(8) LD8(9) LD8(10) LD8(11) LD8(12) LD8(13) LD8(14) LD8(15)
                                    LD8(16) LD8(17) LD8(18) LD8(19) LD8(20) LD8(21) LD8(22) LD8(23)
                                        LD8(24) LD8(25) LD8(26) LD8(27) LD8(28) LD8(29) LD8(30)
                                            LD8(31) "1:\n"
                                                    " add x5, x5, x6\n xor x7, x7, x5\n addi x10, "
                                                    "x10, 8\n mul x8, x8, x9\n"
                                                    " fadd.d f1, f1, f2\n slli x11, x11, 1\n addi "
                                                    "sp, sp, 16\n add gp, gp, tp\n"
                                                    "state_fault:\n"
                                                    " ld x12, 0(x10)\n"
                                                    " add x13, x13, x12\n sub x14, x14, x5\n addi "
                                                    "x15, x15, 1\n fmul.d f3, f3, f4\n"
                                                    " bne x15, x16, 1b\n"
                                                    "state_recover:\n"
                                                    " lla t0, state_save\n"
                                                    " ld ra, 0(t0)\n ld sp, 8(t0)\n ld gp, "
                                                    "16(t0)\n ld tp, 24(t0)\n"
                                                    " ld s0, 32(t0)\n ld s1, 40(t0)\n ld s2, "
                                                    "48(t0)\n ld s3, 56(t0)\n ld s4, 64(t0)\n"
                                                    " ld s5, 72(t0)\n ld s6, 80(t0)\n ld s7, "
                                                    "88(t0)\n ld s8, 96(t0)\n ld s9, 104(t0)\n"
                                                    " ld s10, 112(t0)\n ld s11, 120(t0)\n"
                                                    " fld fs0, 128(t0)\n fld fs1, 136(t0)\n"
                                                    " fscsr zero\n ret\n"
                                                    "state_entry:\n" /* gp and tp hold the test's
                                                                        values: bring the program's
                                                                        back first */
                                                    " lla t0, state_gp\n ld gp, 0(t0)\n lla t0, "
                                                    "state_tp\n ld tp, 0(t0)\n"
                                                    " j state_handler\n"
                                                    ".option pop\n");

void state_handler(int sig, siginfo_t *info, void *context);
void state_handler(int sig, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;

    got_signal = sig;
    got_addr = (uint64_t)info->si_addr;
    memcpy(&state_got, uc, sizeof(state_got));
    uc->uc_mcontext.__gregs[REG_PC] = (unsigned long)state_recover;
}

static void test_state(void)
{
    enum { ROUNDS = 6 };
    uint64_t x[32], *words = (uint64_t *)map(8192, PROT_READ | PROT_WRITE);
    double f[32];
    int bad = 0;

    munmap((char *)words + 4096, 4096);
    __asm__ volatile("mv %0, gp\n mv %1, tp" : "=r"(state_gp), "=r"(state_tp));
    for (int i = 0; i < 512; i++)
        words[i] = 0x0101010101010101u * (unsigned)(i & 0xff) + 3;
    for (int i = 0; i < 32; i++) {
        state_in[i] = 0x123456789abcdef1u * (unsigned)(i + 1);
        f[i] = i * 1.25 + 0.1;
    }
    state_in[10] = (uint64_t)(words + 512 - ROUNDS);
    state_in[15] = 0;
    state_in[16] = 1000;
    memcpy(state_f_in, f, sizeof(f));
    memcpy(x, state_in, sizeof(x));
    catch_faults(state_entry);
    got_signal = 0;
    state_run();
    catch_faults(on_fault);
    for (int i = 0;; i++) {
        volatile double sum;

        x[5] += x[6];
        x[7] ^= x[5];
        x[10] += 8;
        x[8] *= x[9];
        __asm__ volatile("fadd.d %0, %1, %2, rdn" : "=f"(sum) : "f"(f[1]), "f"(f[2]));
        f[1] = sum;
        x[11] <<= 1;
        x[2] += 16;
        x[3] += x[4];
        if (i == ROUNDS - 1)
            break;
        x[12] = *(uint64_t *)x[10];
        x[13] += x[12];
        x[14] -= x[5];
        x[15]++;
        __asm__ volatile("fmul.d %0, %1, %2, rdn" : "=f"(sum) : "f"(f[3]), "f"(f[4]));
        f[3] = sum;
    }
    is(got_signal, SIGSEGV, "the loop faults at the end of the page");
    is(got_addr, words + 512, "si_addr is the first byte past it");
    is(state_got.uc_mcontext.__gregs[REG_PC], state_fault, "pc is the load's");
    for (int i = 1; i < 32; i++)
        if (state_got.uc_mcontext.__gregs[i] != x[i]) {
            bad++;
            note("x%d is 0x%lx, expected 0x%llx", i, state_got.uc_mcontext.__gregs[i],
                 (unsigned long long)x[i]);
        }
    is(bad, 0, "31 integer registers at the fault");
    bad = 0;
    for (int i = 0; i < 32; i++)
        if (memcmp(&state_got.uc_mcontext.__fpregs.__d.__f[i], &f[i], 8)) {
            bad++;
            note("f%d is 0x%llx", i, state_got.uc_mcontext.__fpregs.__d.__f[i]);
        }
    is(bad, 0, "32 floating-point registers at the fault");
    is(state_got.uc_mcontext.__fpregs.__d.__fcsr, 0x45,
       "fcsr at the fault: rounding down, overflow and the loop's inexact");
}

/* ---- the stack's end, and what must not fault ---- */

static volatile int bottomless = 1;

static int __attribute__((noinline)) deep(volatile char *above)
{
    volatile char frame[4000];

    frame[0] = above ? above[0] : 1;
    return bottomless ? deep(frame) + frame[0] : 0;
}

static uint64_t overflow(uint64_t unused)
{
    return (uint64_t)deep(NULL);
}

static void test_stack(void)
{
    stack_t alt = {.ss_sp = map(65536, PROT_READ | PROT_WRITE), .ss_size = 65536}, old;
    struct rlimit limit;
    uint64_t here = (uint64_t)__builtin_frame_address(0);

    getrlimit(RLIMIT_STACK, &limit);
    sigaltstack(&alt, &old);
    if (limit.rlim_cur > (64u << 20)) {
        ok(1, "stack overflow # SKIP the stack limit is above 64 MiB");
    } else {
        got_signal = 0;
        if (!sigsetjmp(escape, 1))
            overflow(0);
        is(got_signal, SIGSEGV, "stack overflow caught on the alternate stack");
        ok(got_addr < here && here - got_addr < (limit.rlim_cur + (1u << 20)),
           "its address lies at the stack's end");
    }
}

static void test_division(void)
{
    volatile long min = INT64_MIN, minus = -1, zero = 0, seven = 7;
    volatile int min32 = INT32_MIN;
    long q;

#define DIVIDE(op, a, b) __asm__ volatile(op " %0, %1, %2" : "=r"(q) : "r"(a), "r"(b))
    DIVIDE("div", seven, zero);
    is(q, -1, "7 / 0 = -1");
    DIVIDE("divu", seven, zero);
    is(q, UINT64_MAX, "divu by zero gives all ones");
    DIVIDE("rem", seven, zero);
    is(q, 7, "7 %% 0 = 7");
    DIVIDE("remu", seven, zero);
    is(q, 7, "remu by zero gives the dividend");
    DIVIDE("div", min, minus);
    is(q, INT64_MIN, "INT64_MIN / -1 overflows to itself");
    DIVIDE("rem", min, minus);
    is(q, 0, "INT64_MIN %% -1 = 0");
    DIVIDE("divw", (long)min32, minus);
    is(q, (long)INT32_MIN, "divw overflow");
    DIVIDE("remw", (long)min32, minus);
    is(q, 0, "remw overflow");
    DIVIDE("divw", seven, zero);
    is(q, -1, "divw by zero");
    DIVIDE("divuw", seven, zero);
    is(q, UINT64_MAX, "divuw by zero is sign-extended all ones");
    DIVIDE("remuw", (long)min32, zero);
    is(q, (long)INT32_MIN, "remuw by zero sign-extends the dividend");
}

int main(void)
{
    catch_faults(on_fault);
    test_access();
    test_jumps();
    test_others();
    stack_t alt = {.ss_sp = map(65536, PROT_READ | PROT_WRITE), .ss_size = 65536};
    sigaltstack(&alt, NULL);
    test_state();
    test_stack();
    test_division();
    return tap_done();
}
