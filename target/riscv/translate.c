/*
 * The translation loop: from guest code to a unit.
 *
 * A unit goes on until an instruction ends it (a jump, a backward branch, a trap), or a limit does.
 * A forward branch becomes a side exit and the main line goes on behind it. Code is read in pieces
 * that end with a page, so that nothing is read of a page before the unit gets there. If an
 * instruction behind the first can't be fetched, the unit ends before it: the fault belongs to the
 * unit that starts there, if control ever reaches it.
 */
#include <string.h>
#include "target/riscv/trans.h"

enum {
    MAX_INSNS = 64,
    MAX_OPS = 1500, /* ends a unit of instructions that take many ops each */
    PIECE = 64,     /* bytes fetched at a time */
    PAGE = 4096,
};

struct fetcher {
    struct cpu_translate *request;
    uint64_t start; /* guest address of bytes[0] */
    unsigned count; /* of valid bytes */
    uint8_t bytes[PIECE];
};

/* Makes bytes [pc, pc + 2) available. */
static bool fetch_half(struct fetcher *f, uint64_t pc, uint16_t *half)
{
    uint64_t offset = pc - f->start;

    if (offset >= f->count) {
        unsigned n = PAGE - (pc & (PAGE - 1));
        n = n < PIECE ? n : PIECE;
        f->start = pc;
        f->count = f->request->fetch(f->request->opaque, pc, f->bytes, n) & ~1u;
        offset = 0;
        if (f->count == 0) {
            return false;
        }
    }
    memcpy(half, f->bytes + offset, 2);
    return true;
}

/* Returns the length in bytes, or 0 with the address that can't be read in *fault. */
static unsigned fetch_insn(struct fetcher *f, uint64_t pc, uint32_t *bits, uint64_t *fault)
{
    uint64_t offset = pc - f->start;
    uint16_t low, high;

    if (f->count >= 4 && offset <= f->count - 4) {
        memcpy(bits, f->bytes + offset, 4);
        if (rv_length(*bits) == 2) {
            *bits &= 0xffff;
            return 2;
        }
        return 4;
    }
    if (!fetch_half(f, pc, &low)) {
        *fault = pc;
        return 0;
    }
    *bits = low;
    if (rv_length(low) == 2) {
        return 2;
    }
    if (!fetch_half(f, pc + 2, &high)) {
        *fault = pc + 2;
        return 0;
    }
    *bits |= (uint32_t)high << 16;
    return 4;
}

void rv_trans_illegal(struct rv_trans *t, const struct rv_insn *insn)
{
    ir_cpu_store(t->b, IR_M64, offsetof(struct cpu, exit_arg), ir_i64(t->b, insn->bits));
    ir_exit_loop(t->b, CPU_EXIT_ILLEGAL, t->pc);
}

void rv_trans_illegal_if(struct rv_trans *t, const struct rv_insn *insn, enum ir_cc cc, ir_ref a,
                         ir_ref c)
{
    ir_cpu_store(t->b, IR_M64, offsetof(struct cpu, exit_arg), ir_i64(t->b, insn->bits));
    ir_side_exit_loop(t->b, cc, a, c, CPU_EXIT_ILLEGAL, t->pc);
}

void rv_trans_misaligned_cause(struct rv_trans *t, unsigned cause)
{
    if (t->cpu->system) {
        ir_cpu_store(t->b, IR_M8, offsetof(struct riscv_cpu, sys.misaligned),
                     ir_i32(t->b, (int32_t)cause));
    }
}

void rv_trans_check_aligned(struct rv_trans *t, ir_ref addr, unsigned size, unsigned cause)
{
    if (size > 1) {
        ir_ref low = ir_bini(t->b, IR_and, addr, size - 1);
        rv_trans_misaligned_cause(t, cause);
        ir_cpu_store(t->b, IR_M64, offsetof(struct cpu, exit_arg), addr);
        ir_side_exit_loop(t->b, IR_NE, low, ir_i64(t->b, 0), CPU_EXIT_MISALIGNED, t->pc);
    }
}

void rv_translate(struct ir_builder *b, struct cpu_translate *request)
{
    const struct riscv_cpu *cpu = (const struct riscv_cpu *)request->cpu;
    struct rv_trans t = {.b = b, .cpu = cpu, .mode = request->mode};
    struct fetcher f = {.request = request};
    unsigned max = request->max_insns;
    uint64_t pc = request->pc;

    max = max == 0 || max > MAX_INSNS ? MAX_INSNS : max;
    request->insns = 0;
    while (!b->done) {
        struct rv_insn insn;
        uint64_t fault;
        uint32_t bits;
        unsigned length;

        if (request->insns == max || ir_build_size(b) > MAX_OPS ||
            (request->insns && request->ends_before && request->ends_before(request->opaque, pc))) {
            ir_exit_jump(b, pc);
            break;
        }
        length = fetch_insn(&f, pc, &bits, &fault);
        if (length == 0 && request->insns) {
            ir_exit_jump(b, pc);
            break;
        }
        t.pc = pc;
        request->insns++;
        if (length == 0) {
            ir_insn(b, pc, 4);
            ir_cpu_store(b, IR_M64, offsetof(struct cpu, exit_arg), ir_i64(b, (int64_t)fault));
            ir_exit_loop(b, CPU_EXIT_FETCH_FAULT, pc);
            pc = fault;
            break;
        }
        ir_insn(b, pc, length);
        t.next = pc + length;
        t.go_on = request->long_units && request->insns < max;
        if (!rv_decode(&insn, bits, &cpu->ext)) {
            rv_trans_illegal(&t, &insn);
        } else if (!(t.mode & RV_MODE_FS) || !rv_trans_fp_gate(&t, &insn)) {
            insn.row->translate(&t, &insn);
        }
        pc = t.next;
    }
    request->end = pc;
}
