/*
 * Each instruction translated, verified, and run on the interpreter, with the optimisations on and
 * off; the expected values are in riscv-vectors.def. Jumps, traps, and what needs more state than a
 * vector has are spelled out below.
 */
#include <errno.h>
#include <stdlib.h>
#include "jit/interp/interp.h"
#include "jit/ir/verify.h"
#include "jit/opt/options.h"
#include "target/riscv/decode.h"
#include "target/riscv/model.h"
#include "target/riscv/trans.h"
#include "tests/unit/tap.h"

struct vector {
    const char *name;
    uint32_t bits;
    bool memory;
    uint64_t in[4];
    uint32_t fcsr;
    uint64_t x, f;
    uint32_t fcsr_out;
    uint64_t m[2];
};

static const struct vector vectors[] = {
#define VECTOR(name, bits, memory, a, b, c, d, fcsr, x, f, fcsr_out, m0, m1) \
    {name, bits, memory, {a, b, c, d}, fcsr, x, f, fcsr_out, {m0, m1}},
#include "tests/unit/riscv-vectors.def"
#undef VECTOR
};

enum { CODE = 0x10000, CODE_SIZE = 0x2000 };

static uint8_t code[CODE_SIZE];
static unsigned code_length; /* what can be fetched */
static uint64_t buffer[32] __attribute__((aligned(64)));
static struct riscv_cpu *cpu;
static struct ir_unit unit;
static struct jit_options options;
static struct cpu_translate request;
static struct interp_exit left;

static unsigned fetch(void *opaque, uint64_t pc, void *bytes, unsigned length)
{
    uint64_t offset = pc - CODE;
    unsigned n = offset < code_length ? code_length - (unsigned)offset : 0;

    n = n < length ? n : length;
    memcpy(bytes, code + offset, n);
    return n;
}

static bool outside(uint64_t address, unsigned size)
{
    return address - (uint64_t)(uintptr_t)buffer > sizeof(buffer) - size;
}

static int fault(int *signal, int *fault_code)
{
    *signal = 11;
    *fault_code = 1;
    return -EFAULT;
}

static int load(void *opaque, uint64_t address, unsigned size, uint64_t *value, int *signal,
                int *fault_code)
{
    *value = 0;
    if (outside(address, size)) {
        return fault(signal, fault_code);
    }
    memcpy(value, (void *)(uintptr_t)address, size);
    return 0;
}

static int store(void *opaque, uint64_t address, unsigned size, uint64_t value, int *signal,
                 int *fault_code)
{
    if (outside(address, size)) {
        return fault(signal, fault_code);
    }
    memcpy((void *)(uintptr_t)address, &value, size);
    return 0;
}

static int cas(void *opaque, uint64_t address, unsigned size, uint64_t expected, uint64_t desired,
               uint64_t *old, int *signal, int *fault_code)
{
    int r = load(opaque, address, size, old, signal, fault_code);

    if (r == 0 && !memcmp(old, &expected, size)) {
        r = store(opaque, address, size, desired, signal, fault_code);
    }
    return r;
}

static const struct interp_memory memory = {.load = load, .store = store, .cas = cas};

static void report(void *opaque, ir_ref op, const char *text)
{
    tap_note("v%u: %s", op, text);
}

static void clear(void)
{
    riscv64_target_ops.reset(&cpu->common);
    memset(buffer, 0, sizeof(buffer));
    buffer[0] = UINT64_C(0x8899aabbccddeeff);
    buffer[1] = buffer[2] = UINT64_C(0xfedcba9876543210);
    cpu->x[2] = (uintptr_t)buffer;
    code_length = 0;
}

static void add(uint32_t bits)
{
    memcpy(code + code_length, &bits, 4);
    code_length += rv_length(bits);
}

/* Translates and runs the unit at CODE. False if the verifier objects. */
static bool run(unsigned max_insns)
{
    struct ir_builder b;
    int r;

    request = (struct cpu_translate){
        .pc = CODE,
        .mode = cpu->common.mode,
        .cpu = &cpu->common,
        .max_insns = max_insns,
        .long_units = true,
        .fetch = fetch,
    };
    ir_build_begin(&b, &unit, &options, riscv64_target_ops.ir, CODE);
    riscv64_target_ops.translate(&b, &request);
    if (ir_verify(&unit, report, NULL)) {
        return false;
    }
    riscv64_target_ops.load_fpu(&cpu->common);
    r = interp_run(&unit, cpu, &memory, &left);
    riscv64_target_ops.save_fpu(&cpu->common);
    if (r == -EFAULT) {
        left.op = IR_OP_COUNT;
    }
    return true;
}

static bool run_vector(const struct vector *v)
{
    clear();
    for (unsigned n = 0; n < 4; n++) {
        cpu->x[10 + n] = cpu->f[10 + n] = v->in[n];
    }
    if (v->memory) {
        cpu->x[11] = (uintptr_t)buffer;
    }
    cpu->fflags = v->fcsr & 31;
    cpu->frm = v->fcsr >> 5;
    cpu->common.mode = cpu->frm > 3 ? RV_MODE_FRM_SOFT : 0;
    add(v->bits);
    if (!run(1)) {
        return false;
    }
    if (left.op == IR_exit_loop && left.reason != CPU_EXIT_MODE) {
        tap_note("left for reason %u", left.reason);
        return false;
    }
    return left.pc == CODE + rv_length(v->bits) && cpu->x[10] == v->x && cpu->f[10] == v->f &&
           cpu->fflags == (v->fcsr_out & 31) && cpu->frm == v->fcsr_out >> 5 &&
           cpu->common.mode == (cpu->frm > 3 ? RV_MODE_FRM_SOFT : 0) && buffer[0] == v->m[0] &&
           buffer[1] == v->m[1];
}

static void run_vectors(const char *how)
{
    unsigned wrong = 0;

    for (unsigned n = 0; n < sizeof(vectors) / sizeof(vectors[0]); n++) {
        const struct vector *v = &vectors[n];
        char text[80];
        if (run_vector(v)) {
            continue;
        }
        wrong++;
        rv_disassemble(v->bits, CODE, text, sizeof(text));
        tap_note("%s: x10 %lx (%lx) f10 %lx (%lx) fcsr %x (%x) memory %lx %lx (%lx %lx)", text,
                 cpu->x[10], v->x, cpu->f[10], v->f, cpu->fflags | cpu->frm << 5, v->fcsr_out,
                 buffer[0], buffer[1], v->m[0], v->m[1]);
    }
    tap_ok(wrong == 0, "%zu vectors, %s: %u wrong", sizeof(vectors) / sizeof(vectors[0]), how,
           wrong);
}

/* Every row has a vector, or is one that a vector cannot describe. */
static void coverage(void)
{
    static const char *const elsewhere[] = {
        "auipc",      "jal",        "jalr",       "beq",       "bne",      "blt",       "bge",
        "bltu",       "bgeu",       "fence",      "ecall",     "ebreak",   "wrs.nto",   "wrs.sto",
        "pause",      "fence.tso",  "fence.i",    "host.call", "amocas.q", "cbo.inval", "c.unimp",
        "c.reserved", "c.addi16sp", "c.addi4spn", "sc.w",      "sc.d",     "cbo.clean", "cbo.flush",
        "prefetch.i", "prefetch.r", "prefetch.w", "c.nop",     "c.mop.",   "c.j",       "c.beqz",
        "c.bnez",     "c.jr",       "c.jalr",     "c.ebreak",
    };
    unsigned missing = 0;

    for (unsigned n = 0; n < rv_row_count; n++) {
        bool found = !rv_row_enabled(&rv_rows[n], &cpu->ext); /* of full-system emulation */
        for (unsigned k = 0; k < sizeof(vectors) / sizeof(vectors[0]) && !found; k++) {
            found = !strcmp(vectors[k].name, rv_rows[n].name);
        }
        for (unsigned k = 0; k < sizeof(elsewhere) / sizeof(elsewhere[0]) && !found; k++) {
            found = !strcmp(elsewhere[k], rv_rows[n].name);
        }
        if (!found) {
            tap_note("no vector for %s", rv_rows[n].name);
            missing++;
        }
    }
    tap_ok(missing == 0, "every instruction has a vector");
}

/* ---- jumps ----------------------------------------------------------------------------------- */

static void jumps(void)
{
    clear();
    add(0x100000ef); /* jal ra,+0x100 */
    tap_ok(run(64) && left.op == IR_exit_call && left.pc == CODE + 0x100 &&
               left.return_pc == CODE + 4 && cpu->x[1] == CODE + 4,
           "jal ra is a call");
    clear();
    add(0x1000056f); /* jal a0,+0x100 */
    tap_ok(run(64) && left.op == IR_exit_jump && left.pc == CODE + 0x100 && cpu->x[10] == CODE + 4,
           "jal a0 is a jump");
    clear();
    add(0x8082); /* c.jr ra */
    cpu->x[1] = 0x12345679;
    tap_ok(run(64) && left.op == IR_exit_ret && left.pc == 0x12345678, "c.jr ra returns");
    clear();
    add(0x00850567); /* jalr a0,8(a0) */
    cpu->x[10] = 0x2000;
    tap_ok(run(64) && left.op == IR_exit_lookup && left.pc == 0x2008 && cpu->x[10] == CODE + 4,
           "jalr reads rs1 before it writes rd");
    clear();
    add(0x9082); /* c.jalr ra */
    cpu->x[1] = 0x2000;
    tap_ok(run(64) && left.op == IR_exit_call && left.pc == 0x2000 && cpu->x[1] == CODE + 2,
           "c.jalr ra calls");
    clear();
    add(0x00001317); /* auipc t1,1 */
    add(0x008300e7); /* jalr ra,8(t1) */
    tap_ok(run(64) && left.op == IR_exit_call && left.pc == CODE + 0x1008 &&
               (!options.fold || unit.ins[unit.blocks[0].last].a == IR_NONE),
           "auipc and jalr are a direct call");

    static const struct {
        uint32_t bits;
        uint64_t a, c;
        bool taken;
    } branches[] = {
        {0x00b50863, 1, 1, true},   {0x00b50863, 1, 2, false},  {0x00b51863, 1, 2, true},
        {0x00b51863, 2, 2, false},  {0x00b54863, -1, 1, true},  {0x00b54863, 1, -1, false},
        {0x00b55863, 1, -1, true},  {0x00b55863, -1, 1, false}, {0x00b56863, 1, -1, true},
        {0x00b56863, -1, 1, false}, {0x00b57863, -1, 1, true},  {0x00b57863, 1, -1, false},
        {0xc901, 0, 0, true},       {0xc901, 1, 0, false},      {0xe901, 1, 0, true},
        {0xe901, 0, 0, false},
    };
    for (unsigned n = 0; n < 2 * sizeof(branches) / sizeof(branches[0]); n++) {
        unsigned max = n & 1 ? 64 : 1;
        uint32_t bits = branches[n / 2].bits;
        char text[80];
        clear();
        add(bits);
        add(0x00000073); /* ecall */
        cpu->x[10] = branches[n / 2].a;
        cpu->x[11] = branches[n / 2].c;
        rv_disassemble(bits, CODE, text, sizeof(text));
        tap_ok(run(max) && left.pc == CODE + (branches[n / 2].taken ? 16 : rv_length(bits)),
               "%s %s, %s", text, branches[n / 2].taken ? "taken" : "not taken",
               max == 1 ? "alone" : "in a long unit");
    }
    clear();
    add(0x0001);     /* c.nop */
    add(0xfea50fe3); /* beq a0,a0,-2 */
    tap_ok(run(64) && left.pc == CODE && request.insns == 2, "a backward branch ends the unit");
}

/* ---- traps and the end of what can be read --------------------------------------------------- */

static void trap(uint32_t bits, unsigned reason, uint64_t pc, uint64_t arg, const char *what)
{
    clear();
    add(0x0505); /* c.addi a0,1: must have happened */
    add(bits);
    cpu->x[11] = (uintptr_t)buffer + 1;
    tap_ok(run(64) && left.op == IR_exit_loop && left.reason == reason &&
               left.pc == CODE + 2 + pc && cpu->x[10] == 1 && cpu->pc == left.pc,
           "%s", what);
    if (arg) {
        tap_ok(cpu->common.exit_arg == arg, "and the argument is %lx", arg);
    }
}

static void traps(void)
{
    uint64_t odd = (uintptr_t)buffer + 1;

    trap(0x00000073, CPU_EXIT_SYSCALL, 0, 0, "ecall");
    trap(0x00100073, CPU_EXIT_BREAKPOINT, 0, 0, "ebreak");
    trap(0x9002, CPU_EXIT_BREAKPOINT, 0, 0, "c.ebreak");
    trap(0x0000100f, CPU_EXIT_FENCE_CODE, 4, 0, "fence.i");
    trap(0x0000, CPU_EXIT_ILLEGAL, 0, 0, "all zeros");
    trap(0x30200073, CPU_EXIT_ILLEGAL, 0, 0x30200073, "mret");
    trap(0x0005a00f, CPU_EXIT_ILLEGAL, 0, 0x0005a00f, "cbo.inval");
    trap(0x0000050b, CPU_EXIT_ILLEGAL, 0, 0x0000050b, "host.call outside the vDSO");
    trap(0xc0051073, CPU_EXIT_ILLEGAL, 0, 0xc0051073, "write to cycle");
    trap(0x30002573, CPU_EXIT_ILLEGAL, 0, 0x30002573, "read of mstatus");
    trap(0x00b55553, CPU_EXIT_ILLEGAL, 0, 0x00b55553, "fadd.s with rounding mode 5");
    trap(0x31b51513, CPU_EXIT_ILLEGAL, 0, 0x31b51513, "aes64ks1i round 11");
    trap(0x1005a52f, CPU_EXIT_MISALIGNED, 0, odd, "lr.w");
    trap(0x18c5b52f, CPU_EXIT_MISALIGNED, 0, odd, "sc.d");
    trap(0x00c5a52f, CPU_EXIT_MISALIGNED, 0, odd, "amoadd.w");
    trap(0x00c5952f, CPU_EXIT_MISALIGNED, 0, odd, "amoadd.h");
    trap(0x28c5c52f, CPU_EXIT_MISALIGNED, 0, odd, "amocas.q");
    trap(0x28d5c52f, CPU_EXIT_ILLEGAL, 0, 0x28d5c52f, "amocas.q with an odd register");

    clear();
    cpu->frm = 5;
    cpu->common.mode = RV_MODE_FRM_SOFT;
    add(0x02c5f553); /* fadd.d, dynamic */
    tap_ok(run(64) && left.op == IR_exit_loop && left.reason == CPU_EXIT_ILLEGAL && left.pc == CODE,
           "dynamic rounding with a reserved frm");
    clear();
    cpu->frm = 5;
    cpu->common.mode = RV_MODE_FRM_SOFT;
    add(0x22b58553); /* fsgnj.d */
    tap_ok(run(1) && left.op == IR_exit_jump, "what does not round does not mind");

    clear();
    add(0x0505);
    add(0x00c5b023); /* sd a2,0(a1) */
    cpu->x[11] = 64;
    tap_ok(run(64) && left.op == IR_OP_COUNT && left.pc == CODE + 2 && left.fault_address == 64 &&
               cpu->x[10] == 1,
           "a fault finds the registers as they were");

    clear();
    tap_ok(run(64) && left.op == IR_exit_loop && left.reason == CPU_EXIT_FETCH_FAULT &&
               left.pc == CODE && cpu->common.exit_arg == CODE,
           "nothing can be read");
    clear();
    code_length = 0;
    add(0x00c5b023);
    code_length = 2;
    tap_ok(run(64) && left.reason == CPU_EXIT_FETCH_FAULT && left.pc == CODE &&
               cpu->common.exit_arg == CODE + 2,
           "the second half can't be read");
    clear();
    add(0x0505);
    add(0x00c5b023);
    code_length = 4;
    tap_ok(run(64) && left.op == IR_exit_jump && left.pc == CODE + 2 && request.insns == 1 &&
               request.end == CODE + 2,
           "a later instruction that can't be read ends the unit before it");
    clear();
    for (unsigned n = 0; n < 100; n++) {
        add(0x0505);
    }
    tap_ok(run(10) && left.pc == CODE + 20 && request.insns == 10 && cpu->x[10] == 10 &&
               request.end == CODE + 20,
           "a unit of ten instructions");
    clear();
    for (unsigned n = 0; n < 2000; n++) {
        add(0x0505);
    }
    tap_ok(run(0) && left.op == IR_exit_jump && cpu->x[10] == request.insns, "a unit has a limit");
}

static int64_t host_call(struct cpu *c, unsigned number, uint64_t a0, uint64_t a1, uint64_t a2)
{
    return (int64_t)(number + a0 + a1 + a2);
}

/* ---- what takes several instructions --------------------------------------------------------- */

static void sequences(void)
{
    clear();
    add(0x00001517); /* auipc a0,1 */
    add(0x6105);     /* c.addi16sp 32 */
    add(0x080c);     /* c.addi4spn a1,sp,16 */
    tap_ok(run(3) && cpu->x[10] == CODE + 0x1000 && cpu->x[2] == (uintptr_t)buffer + 32 &&
               cpu->x[11] == (uintptr_t)buffer + 48,
           "auipc, c.addi16sp, c.addi4spn");

    clear();
    add(0x1005b52f); /* lr.d a0,(a1) */
    add(0x18c5b6af); /* sc.d a3,a2,(a1) */
    add(0x18c5b72f); /* sc.d a4,a2,(a1) */
    cpu->x[11] = (uintptr_t)buffer;
    cpu->x[12] = 77;
    cpu->x[13] = 5;
    tap_ok(run(3) && cpu->x[10] == UINT64_C(0x8899aabbccddeeff) && cpu->x[13] == 0 &&
               cpu->x[14] == 1 && buffer[0] == 77,
           "store-conditional succeeds once");
    clear();
    add(0x1005a52f); /* lr.w a0,(a1) */
    add(0x00c5b023); /* sd a2,0(a1) */
    add(0x18d5a6af); /* sc.w a3,a3,(a1) */
    cpu->x[11] = (uintptr_t)buffer;
    cpu->x[12] = 77;
    tap_ok(run(3) && cpu->x[13] == 1 && buffer[0] == 77, "and fails when memory has changed");
    clear();
    add(0x1005a52f); /* lr.w a0,(a1) */
    add(0x18d626af); /* sc.w a3,a3,(a2) */
    cpu->x[11] = (uintptr_t)buffer;
    cpu->x[12] = (uintptr_t)buffer + 8;
    tap_ok(run(2) && cpu->x[13] == 1 && buffer[1] == UINT64_C(0xfedcba9876543210) &&
               left.pc == CODE + 8,
           "and fails at another address");
    clear();
    add(0x1005b52f); /* lr.d a0,(a1) */
    add(0x18d5a6af); /* sc.w a3,a3,(a1) */
    cpu->x[11] = (uintptr_t)buffer;
    tap_ok(run(2) && cpu->x[13] == 1 && buffer[0] == UINT64_C(0x8899aabbccddeeff),
           "and fails at another width");
    clear();
    add(0x18d5a6af); /* sc.w a3,a3,(a1), as if reserved there */
    cpu->x[11] = 64;
    cpu->reservation = 64 + 2;
    cpu->x[13] = 42;
    tap_ok(run(1) && left.op == IR_OP_COUNT && cpu->x[13] == 42,
           "a fault of store-conditional leaves rd alone");

    clear();
    add(0x28c5c72f); /* amocas.q a4,a2,(a1) */
    cpu->x[11] = (uintptr_t)buffer;
    cpu->x[12] = 1;
    cpu->x[13] = 2;
    cpu->x[14] = buffer[0];
    cpu->x[15] = buffer[1];
    tap_ok(run(1) && buffer[0] == 1 && buffer[1] == 2 && cpu->x[14] == UINT64_C(0x8899aabbccddeeff),
           "amocas.q swaps");
    cpu->x[12] = 9;
    tap_ok(run(1) && buffer[0] == 1 && buffer[1] == 2 && cpu->x[14] == 1 && cpu->x[15] == 2,
           "amocas.q reports what was there");

    clear();
    cpu->vdso_start = CODE;
    cpu->vdso_end = CODE + 4;
    riscv_vdso_call = host_call;
    add(0x0030050b); /* host.call 3 */
    cpu->x[10] = 10;
    cpu->x[11] = 20;
    cpu->x[12] = 30;
    tap_ok(run(1) && cpu->x[10] == 63 && left.op == IR_exit_jump, "host.call inside the vDSO");
    cpu->vdso_start = cpu->vdso_end = 0;

    clear();
    add(0x0045a00f); /* cbo.zero (a1) */
    memset(buffer, 0x55, sizeof(buffer));
    cpu->x[11] = (uintptr_t)buffer + 64 + 17;
    tap_ok(run(1) && buffer[7] && !buffer[8] && !buffer[15] && buffer[16],
           "cbo.zero clears 64 bytes");

    clear();
    add(0x02c5f553); /* fadd.d fa0,fa1,fa2: inexact */
    add(0x00102573); /* csrrs a0,fflags,zero */
    add(0x00101073); /* csrrw zero,fflags,zero */
    add(0x001025f3); /* csrrs a1,fflags,zero */
    cpu->f[11] = UINT64_C(0x3ff0000000000000);
    cpu->f[12] = UINT64_C(0x3c00000000000000);
    tap_ok(run(4) && cpu->x[10] == 1 && cpu->x[11] == 0 && cpu->fflags == 0,
           "flags are raised, read and cleared");

    clear();
    add(0x0021d073); /* csrrwi zero,frm,3 */
    add(0x02c5f553); /* fadd.d fa0,fa1,fa2 */
    cpu->f[11] = UINT64_C(0x3ff0000000000000);
    cpu->f[12] = UINT64_C(0x3c00000000000000);
    tap_ok(run(2) && cpu->f[10] == UINT64_C(0x3ff0000000000001) && cpu->frm == 3,
           "the rounding mode takes effect at once");
    clear();
    add(0x00225073); /* csrrwi zero,frm,4 */
    add(0x0505);
    tap_ok(run(2) && left.op == IR_exit_loop && left.reason == CPU_EXIT_MODE &&
               left.pc == CODE + 4 && cpu->common.mode == RV_MODE_FRM_SOFT,
           "frm = RMM changes the mode");
    tap_ok(cpu->x[10] == 0, "and ends the unit");
    clear();
    cpu->frm = 4;
    cpu->common.mode = RV_MODE_FRM_SOFT;
    add(0x00205073); /* csrrwi zero,frm,0 */
    tap_ok(run(2) && left.reason == CPU_EXIT_MODE && cpu->common.mode == 0, "and back");

    clear();
    add(0xc0102573); /* csrrs a0,time,zero */
    add(0xc01025f3);
    add(0xc0002673); /* csrrs a2,cycle,zero */
    add(0xc00026f3);
    add(0xc0302773); /* csrrs a4,hpmcounter3,zero */
    cpu->x[14] = 1;
    tap_ok(run(5) && cpu->x[10] && cpu->x[11] >= cpu->x[10] && cpu->x[13] > cpu->x[12] &&
               cpu->x[14] == 0,
           "counters count");

    /* No effect but the pc's. */
    static const uint32_t nops[] = {0x0ff0000f, 0x8330000f, 0x0100000f, 0x00d00073, 0x01d00073,
                                    0x0015e013, 0x0015a00f, 0x0025a00f, 0x0005e013, 0x0035e013,
                                    0x6081,     0x6781,     0x0001};
    clear();
    for (unsigned n = 0; n < sizeof(nops) / sizeof(nops[0]); n++) {
        add(nops[n]);
    }
    cpu->x[11] = (uintptr_t)buffer;
    tap_ok(run(sizeof(nops) / sizeof(nops[0])) && left.op == IR_exit_jump &&
               left.pc == CODE + code_length && cpu->x[11] == (uintptr_t)buffer,
           "fences, pauses and hints");
}

static void without_c(void)
{
    char error[200];

    clear();
    tap_ok(riscv64_target_ops.set_model(&cpu->common, "rv64,c=off", error, sizeof(error)) == 0,
           "a model without C");
    add(0x0060056f); /* jal a0,+6 */
    tap_ok(run(64) && left.reason == CPU_EXIT_MISALIGNED && left.pc == CODE &&
               cpu->common.exit_arg == CODE + 6 && cpu->x[10] == 0,
           "jal to a half-word boundary");
    clear();
    add(0x00050067); /* jr a0 */
    cpu->x[10] = 0x2002;
    tap_ok(run(64) && left.reason == CPU_EXIT_MISALIGNED && cpu->common.exit_arg == 0x2002,
           "jalr to a half-word boundary");
    clear();
    add(0x00b50363); /* beq a0,a1,+6 */
    tap_ok(run(64) && left.reason == CPU_EXIT_MISALIGNED && left.pc == CODE,
           "a taken branch to a half-word boundary");
    clear();
    add(0x00b50363);
    cpu->x[10] = 1;
    tap_ok(run(1) && left.op == IR_exit_jump && left.pc == CODE + 4, "one that is not taken");
    riscv64_target_ops.set_model(&cpu->common, "", error, sizeof(error));
}

int main(void)
{
    cpu = aligned_alloc(64, (sizeof(*cpu) + 63) & ~(size_t)63);
    memset(cpu, 0, sizeof(*cpu));
    ir_unit_init(&unit);
    riscv64_target_ops.reset(&cpu->common);
    coverage();
    for (unsigned pass = 0; pass < 3; pass++) {
        static const char *const how[] = {"optimised", "floating point in software", "plain"};
        jit_options_init(&options);
        options.hostfp = pass != 1;
        options.fold = options.cse = pass != 2;
        run_vectors(how[pass]);
        jumps();
        traps();
        sequences();
        without_c();
    }
    ir_unit_free(&unit);
    free(cpu);
    return tap_done();
}
