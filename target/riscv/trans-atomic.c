/*
 * A, Zabha, Zacas.
 *
 * Every atomic operation that writes is a locked operation of the host, which orders it against
 * everything: aq and rl ask for nothing more. LR is a plain load, and needs a barrier before it
 * only if rl is set (an earlier store must not be overtaken).
 *
 * LR/SC is compare-and-swap: LR notes address and value, SC stores if memory still holds the value.
 * That admits an ABA success which real reservations would not; no program can rely on seeing the
 * difference in the stored value itself, and Linux's and libc's LR/SC loops do not.
 *
 * Atomics on misaligned addresses leave with CPU_EXIT_MISALIGNED before anything happened.
 */
#include "target/riscv/helper.h"
#include "target/riscv/priv.h"
#include "target/riscv/trans.h"

/* Runs at the width of the access: i64 for doublewords, i32 for all others. */
static ir_ref narrow(struct rv_trans *t, unsigned mem, ir_ref x)
{
    return mem == IR_M64 ? x : ir_trunc(t->b, x);
}

static ir_ref widen(struct rv_trans *t, unsigned mem, ir_ref x)
{
    return mem == IR_M64 ? x : ir_sext(t->b, x);
}

static enum ir_type type_of(unsigned mem)
{
    return mem == IR_M64 ? IR_I64 : IR_I32;
}

static void amo(struct rv_trans *t, const struct rv_insn *i, unsigned mem)
{
    ir_ref addr = rv_get_x(t, i->rs1), value = narrow(t, mem, rv_get_x(t, i->rs2)), old;

    rv_trans_check_aligned(t, addr, 1u << mem, RV_CAUSE_STORE_MISALIGNED);
    old = ir_amo(t->b, (enum ir_amo)i->row->arg, type_of(mem), mem, addr, value);
    rv_set_x(t, i->rd, widen(t, mem, old));
}

void rv_trans_amo8(struct rv_trans *t, const struct rv_insn *i)
{
    amo(t, i, IR_M8);
}

void rv_trans_amo16(struct rv_trans *t, const struct rv_insn *i)
{
    amo(t, i, IR_M16);
}

void rv_trans_amo32(struct rv_trans *t, const struct rv_insn *i)
{
    amo(t, i, IR_M32);
}

void rv_trans_amo64(struct rv_trans *t, const struct rv_insn *i)
{
    amo(t, i, IR_M64);
}

void rv_trans_amocas(struct rv_trans *t, const struct rv_insn *i)
{
    unsigned mem = (unsigned)i->row->arg;
    ir_ref addr = rv_get_x(t, i->rs1), old;
    ir_ref expected = narrow(t, mem, rv_get_x(t, i->rd));
    ir_ref desired = narrow(t, mem, rv_get_x(t, i->rs2));

    rv_trans_check_aligned(t, addr, 1u << mem, RV_CAUSE_STORE_MISALIGNED);
    old = ir_cas(t->b, type_of(mem), mem, addr, expected, desired);
    rv_set_x(t, i->rd, widen(t, mem, old));
}

/* Register pairs; the helper reads and writes them in the state. Odd registers are reserved. */
void rv_trans_amocas_q(struct rv_trans *t, const struct rv_insn *i)
{
    ir_ref addr = rv_get_x(t, i->rs1);

    if ((i->rd | i->rs2) & 1) {
        rv_trans_illegal(t, i);
        return;
    }
    rv_trans_check_aligned(t, addr, 16, RV_CAUSE_STORE_MISALIGNED);
    ir_call(t->b, RV_HELPER_amocas_q, 3,
            (ir_ref[]){addr, ir_i32(t->b, i->rd), ir_i32(t->b, i->rs2)});
}

/* What the state keeps of an address: words and doublewords never pair, since the value compared
 * must be all of what LR has read. Addresses are aligned, so the low bits are free. */
static ir_ref reservation(struct rv_trans *t, unsigned mem, ir_ref addr)
{
    return mem == IR_M32 ? ir_bini(t->b, IR_or, addr, 2) : addr;
}

static void set_reservation(struct rv_trans *t, ir_ref value)
{
    ir_cpu_store(t->b, IR_M64, offsetof(struct riscv_cpu, reservation), value);
}

void rv_trans_lr(struct rv_trans *t, const struct rv_insn *i)
{
    unsigned mem = (unsigned)i->row->arg;
    ir_ref addr = rv_get_x(t, i->rs1), value;

    rv_trans_check_aligned(t, addr, 1u << mem, RV_CAUSE_LOAD_MISALIGNED);
    if (i->aqrl & 1) {
        ir_fence(t->b, true);
    }
    value = ir_load(t->b, IR_I64, mem == IR_M32 ? IR_M32 | IR_MS : mem, addr, 0);
    set_reservation(t, reservation(t, mem, addr));
    ir_cpu_store(t->b, IR_M64, offsetof(struct riscv_cpu, reserved_value), value);
    rv_set_x(t, i->rd, value);
}

/*
 * If the address or the width is not the reserved one, memory must not be touched: that case leaves
 * the unit for the next instruction, with rd = 1. Behind that side exit rd gets its old value back,
 * so that a fault of the compare-and-swap finds the registers as they were before the instruction.
 *
 * A machine's hart may stop for a debugger in front of the store, and go on with it later: there
 * the reservation lasts until the store is done.
 */
void rv_trans_sc(struct rv_trans *t, const struct rv_insn *i)
{
    unsigned mem = (unsigned)i->row->arg;
    ir_ref addr = rv_get_x(t, i->rs1), value = narrow(t, mem, rv_get_x(t, i->rs2));
    ir_ref before = rv_get_x(t, i->rd), reserved, expected, old;

    rv_trans_check_aligned(t, addr, 1u << mem, RV_CAUSE_STORE_MISALIGNED);
    reserved = ir_cpu_load(t->b, IR_I64, IR_M64, offsetof(struct riscv_cpu, reservation));
    set_reservation(t, ir_i64(t->b, 1));
    rv_set_x(t, i->rd, ir_i64(t->b, 1));
    ir_side_exit(t->b, IR_NE, reservation(t, mem, addr), reserved, t->next);
    rv_set_x(t, i->rd, before);
    if (t->cpu->system) {
        set_reservation(t, reserved);
    }
    expected = ir_cpu_load(t->b, type_of(mem), mem, offsetof(struct riscv_cpu, reserved_value));
    old = ir_cas(t->b, type_of(mem), mem, addr, expected, value);
    if (t->cpu->system) {
        set_reservation(t, ir_i64(t->b, 1));
    }
    rv_set_x(t, i->rd, ir_icmp(t->b, IR_NE, IR_I64, old, expected));
}
