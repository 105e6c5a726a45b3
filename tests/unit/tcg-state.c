/*
 * A hart's saved state in use: a program is run to its end; then again, but moved into another hart
 * after some instructions, once or several times. All that it leaves must be the same.
 *
 * The program is random instructions in user mode under page tables, with traps in between that a
 * handler in machine mode counts.
 */
#include "target/riscv/random.h"
#include "tests/unit/tcg-hart.h"
#include "util/state.h"

#define CODE         (RAM + 0x10000)
#define HANDLER      (RAM + 0x4000)
#define TABLES       (RAM + 0x200000)
#define DATA         (RAM + 0x100000) /* where the program's good address is */
#define HANDLER_DATA (HANDLER + 0x800)

enum { STREAM = 300, STREAMS = 60, AROUND = 0x1000 };

static char error[256];
static struct rv_random rnd = {1414};

static uint64_t draw(uint64_t n)
{
    return rv_random_next(&rnd) % n;
}

static void move(unsigned from, unsigned to)
{
    struct state_buffer buffer = {0};

    if (state_save(riscv64_target_ops.state, harts[from], &buffer, error, sizeof(error)) ||
        state_load(riscv64_target_ops.state, harts[to], buffer.data, buffer.size, NULL, error,
                   sizeof(error))) {
        tap_ok(false, "moves: %s", error);
        harts_give_up();
    }
    state_buffer_free(&buffer);
    vcpu_unhalt(harts[to]);
    vcpu_set_power(harts[from], false);
    vcpu_set_power(harts[to], true);
}

/* ---- the program ----------------------------------------------------------------------------- */

static void put_program(void)
{
    const struct rv_random_options options = {
        .ext = &hart(0)->ext,
        .classes = RV_CLASS_COMPUTE | RV_CLASS_MEMORY | RV_CLASS_FCSR,
        .bases = 1u << A0,
        .keep = UINT32_C(1) << 31,
    };
    unsigned at = 0;

    for (unsigned i = 0; i < STREAM; i++) {
        uint32_t insn = i % 25 ? rv_random_insn(&rnd, &options) : i % 2 ? ECALL : EBREAK;

        memcpy(ram_at(CODE + at), &insn, 4);
        at += rv_length(insn);
    }
    PUT(CODE + at, END);
    service()->code_changed(mem_gpa(CODE), at);
}

/* Counts, and goes on behind what has trapped, of which the low bits tell the length. */
static void put_handler(void)
{
    PUT(HANDLER, csrrw(MSCRATCH, T0, T0), store(3, T1, T0, 0), load(3, T1, T0, 8), addi(T1, T1, 1),
        store(3, T1, T0, 8), csrrw(MEPC, T1, ZERO), store(3, T1, T0, 16), load(1, T1, T1, 0),
        type_i(0x13, 7, T1, T1, 3), addi(T1, T1, -3), branch(BEQ, T1, ZERO, 16),
        load(3, T1, T0, 16), addi(T1, T1, 2), jal(ZERO, 12), load(3, T1, T0, 16), addi(T1, T1, 4),
        csrrw(MEPC, ZERO, T1), load(3, T1, T0, 0), csrrw(MSCRATCH, T0, T0), MRET);
}

static void start(uint64_t seed)
{
    enum { LEAF = 0xdf }; /* V R W X U A D */
    struct rv_random fill = {seed};
    struct riscv_cpu *rv = hart(0);

    hart_start(0, CODE);
    memset(ram_at(TABLES), 0, MEM_PAGE_SIZE);
    set_word(TABLES + 8 * (PORT >> 30), (PORT >> 30 << 28) | LEAF);
    set_word(TABLES + 8 * (RAM >> 30), (RAM >> 30 << 28) | LEAF);
    memset(ram_at(HANDLER_DATA), 0, 24);
    memset(ram_at(DATA - AROUND), 0x5a, 2 * AROUND);
    for (unsigned i = 1; i < 31; i++) {
        rv->x[i] = rv_random_next(&fill);
        rv->f[i] = rv_random_next(&fill);
    }
    rv->x[A0] = DATA;
    rv->sys.satp = UINT64_C(8) << 60 | TABLES >> 12;
    rv->sys.mtvec = HANDLER;
    rv->sys.mscratch = HANDLER_DATA;
    rv->sys.mstatus |= UINT64_C(1) << RV_MSTATUS_FS_SHIFT;
    rv->sys.menvcfg = RV_ENVCFG_CBIE | RV_ENVCFG_CBCFE | RV_ENVCFG_CBZE;
    rv->sys.senvcfg = rv->sys.menvcfg;
    rv->sys.priv = RV_PRIV_U;
    rv_mode_update(rv);
    vcpu_set_power(harts[0], true);
    vcpu_set_power(harts[1], false);
}

/* ---- what it leaves -------------------------------------------------------------------------- */

struct result {
    uint64_t x[32], f[32], pc, fflags, frm, status, cause, traps;
    uint8_t memory[2 * AROUND];
};

static struct result run_to_end(unsigned n)
{
    struct result r;

    memset(&r, 0, sizeof(r));
    if (hart_run(n).kind != CPU_STOP_NONE) {
        tap_ok(false, "hart %u stops", n);
        harts_give_up();
    }
    memcpy(r.x, hart(n)->x, sizeof(r.x));
    memcpy(r.f, hart(n)->f, sizeof(r.f));
    r.pc = hart(n)->pc;
    r.fflags = hart(n)->fflags;
    r.frm = hart(n)->frm;
    r.status = hart(n)->sys.mstatus;
    r.cause = hart(n)->sys.mcause;
    r.traps = word_at(HANDLER_DATA + 8);
    memcpy(r.memory, ram_at(DATA - AROUND), sizeof(r.memory));
    return r;
}

/* Executes so many instructions. */
static void step(unsigned n, unsigned count)
{
    struct cpu_stop stop;

    service()->single_step(harts[n], true);
    for (unsigned i = 0; i < count; i++) {
        harts_go();
        if (!harts_wait() || !service()->debug_stop(harts[n], &stop)) {
            tap_ok(false, "hart %u does not step", n);
            harts_give_up();
        }
    }
    service()->single_step(harts[n], false);
}

static void test(void)
{
    unsigned wrong = 0;
    uint64_t traps = 0;

    put_handler();
    for (uint64_t seed = 1; seed <= STREAMS && wrong < 5; seed++) {
        struct result want, got;
        unsigned n = 0;

        put_program();
        start(seed);
        want = run_to_end(0);
        traps += want.traps;
        start(seed);
        for (uint64_t moves = 1 + draw(3); moves > 0; moves--) {
            step(n, (unsigned)draw(STREAM / 3));
            move(n, 1 - n);
            n = 1 - n;
        }
        got = run_to_end(n);
        if (memcmp(&got, &want, sizeof(want)) != 0) {
            wrong++;
            tap_note("program %u: %llu traps, %llu expected", (unsigned)seed,
                     (unsigned long long)got.traps, (unsigned long long)want.traps);
        }
    }
    tap_eq(wrong, 0, "programs that are moved from hart to hart");
    tap_ok(traps > 10 * STREAMS, "with %llu traps", (unsigned long long)traps);
}

int main(void)
{
    return harts_each_engine(test, "rv64");
}
