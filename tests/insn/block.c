/*
 * Addresses are good by construction: base registers are set at the block's start from the keeper,
 * nothing writes them, and each access is drawn until base plus offset lies within the scratch
 * area. Some bases are nearly 2 KiB away from it, so that extreme offsets occur too; atomics, which
 * have no offset, never use those.
 */
#include "tests/insn/block.h"

#include <string.h>

#include "target/riscv/trans.h"
#include "tests/insn/asm.h"

enum { WIDEST = 16, SYS_NONE = 1999, UNSET = UINT8_MAX };

struct maker {
    struct block *b;
    struct rv_random r;
    const struct block_options *o;
    uint32_t keep; /* nothing writes these */
    bool wide; /* LR and SC are of doublewords: whether widths pair is left to implementations */
};

static uint64_t below(struct maker *m, uint64_t n)
{
    return (rv_random_next(&m->r) >> 16) % n;
}

/* A register that is neither kept nor a base; never x0. */
static unsigned free_register(struct maker *m)
{
    unsigned n;

    do {
        n = 1 + (unsigned)below(m, 31);
    } while ((m->keep | m->b->bases) >> n & 1);
    return n;
}

static struct rv_insn decode(struct maker *m, uint32_t bits)
{
    struct rv_insn insn;

    if (!rv_decode(&insn, bits, &m->o->ext)) {
        memset(&insn, 0, sizeof(insn));
        insn.row = rv_rows;
        insn.bits = bits;
        insn.length = (uint8_t)rv_length(bits);
    }
    return insn;
}

static struct rv_insn draw(struct maker *m, unsigned classes, bool reserved_rm)
{
    struct rv_random_options o = {&m->o->ext, classes, m->b->bases, m->keep, reserved_rm};
    struct rv_insn insn;

    /* A list of what alone is admitted may have nothing of these classes. */
    for (unsigned tries = 0; tries < 1200; tries++) {
        insn = decode(m, rv_random_insn(&m->r, &o));
        bool reserves = insn.row->translate == rv_trans_lr || insn.row->translate == rv_trans_sc;
        if (reserves && (insn.row->arg == IR_M64) != m->wide) {
            continue;
        }
        if (m->o->admits(&insn)) {
            return insn;
        }
    }
    return decode(m, ASM_ADDI(0, 0, 0));
}

static struct block_item *add(struct maker *m, unsigned count, uint32_t first, uint32_t second,
                              uint32_t third)
{
    struct block_item *item = &m->b->items[m->b->item_count++];

    *item = (struct block_item){{first, second, third}, (uint8_t)count, BLOCK_PLAIN, UNSET, false};
    return item;
}

static bool has_12_bit_offset(unsigned format)
{
    return format == RV_FORMAT_LOAD || format == RV_FORMAT_FLOAD || format == RV_FORMAT_STORE ||
           format == RV_FORMAT_FSTORE;
}

static uint32_t with_offset(const struct rv_insn *insn, int offset)
{
    if (insn->row->format == RV_FORMAT_LOAD || insn->row->format == RV_FORMAT_FLOAD) {
        return (insn->bits & 0xfffff) | (uint32_t)offset << 20;
    }
    return (insn->bits & ~ASM_IMM_S_MASK) | asm_imm_s(offset);
}

static bool within(int offset)
{
    return offset >= GUEST_SCRATCH_START && offset <= GUEST_SCRATCH / 2 - WIDEST;
}

static void add_access(struct maker *m)
{
    for (;;) {
        struct rv_insn insn = draw(m, RV_CLASS_MEMORY, false);
        int base = m->b->offset[insn.rs1], wanted;
        if (has_12_bit_offset(insn.row->format)) {
            wanted = GUEST_SCRATCH_START + (int)below(m, GUEST_SCRATCH - WIDEST + 1);
            /* Mostly aligned, and often the same few places: forwarding and merging of accesses. */
            if (below(m, 4) != 0) {
                wanted &= below(m, 2) ? ~7 : ~31;
            }
            insn = decode(m, with_offset(&insn, wanted - base));
            if (wanted - base < -2048 || wanted - base > 2047) {
                continue;
            }
        }
        if (within(base + (int)insn.imm) || rv_row_class(insn.row) != RV_CLASS_MEMORY) {
            add(m, 1, insn.bits, 0, 0);
            return;
        }
    }
}

/* A jump or branch to an item that is chosen once the number of items is known. */
static void add_control(struct maker *m)
{
    struct rv_insn insn;
    struct block_item *item;

    /* Those that jump through a register write it first. */
    do {
        insn = draw(m, RV_CLASS_CONTROL, false);
    } while (insn.row->translate == rv_trans_jalr &&
             (insn.rs1 == 0 || ((m->keep | m->b->bases) >> insn.rs1 & 1)));
    if (insn.row->format == RV_FORMAT_LOAD) {
        item = add(m, 2, ASM_AUIPC(insn.rs1, 0), insn.bits, 0);
        item->patch = BLOCK_COMPUTED;
    } else if (insn.row->translate == rv_trans_jalr) {
        item = add(m, 3, ASM_AUIPC(insn.rs1, 0), ASM_ADDI(insn.rs1, insn.rs1, 0), insn.bits);
        item->patch = BLOCK_COMPUTED;
    } else {
        item = add(m, 1, insn.bits, 0, 0);
        item->patch = BLOCK_BRANCH;
    }
}

/* Something that traps, or may. */
static void add_trap(struct maker *m)
{
    static const uint32_t fixed[] = {
        0x00100073, 0x9002,             /* ebreak, c.ebreak */
        0x00000000, 0xffffffff, 0x8002, /* c.unimp, an encoding of more than 32 bits, c.jr x0 */
        0xc0101073, 0x00000067,         /* a write to time, a jump to 0 */
        0x30002573,                     /* mstatus; the last */
    };
    unsigned t = free_register(m);
    struct rv_insn insn;

    switch (below(m, 4)) {
    case 0: /* through a null pointer, page 0 or the last one */
        insn = draw(m, RV_CLASS_MEMORY, false);
        /* An SC that fails anyway may fault or not; without paging, as may cbo.clean. */
        if (insn.length != 4 || insn.row->translate == rv_trans_sc ||
            (m->o->machine && insn.row->translate == rv_trans_cbo_touch)) {
            insn.bits = ASM_LW(t, 0, 0);
        }
        add(m, 1, insn.bits & ~(31u << 15), 0, 0);
        break;
    case 1: /* atomics on misaligned addresses */
        /* Not SC: QEMU's user mode aborts where Linux sends SIGBUS. */
        insn.bits = ASM_LW(t, 0, 0);
        for (unsigned tries = 0; tries < 100; tries++) {
            insn = draw(m, RV_CLASS_MEMORY, false);
            if ((insn.row->format == RV_FORMAT_AMO || insn.row->format == RV_FORMAT_LR) &&
                insn.row->translate != rv_trans_sc) {
                break;
            }
            insn.bits = ASM_LW(t, 0, 0);
        }
        add(m, 2, ASM_ADDI(t, m->b->keeper, 1 << below(m, 4)), (insn.bits & ~(31u << 15)) | t << 15,
            0);
        break;
    case 2: /* a rounding mode that is reserved, in the instruction or in frm */
        insn = draw(m, RV_CLASS_COMPUTE, true);
        add(m, 2, 0x00205073u | (uint32_t)below(m, 8) << 15, insn.bits, 0);
        break;
    default:
        add(m, 1, fixed[below(m, sizeof(fixed) / sizeof(fixed[0]) - m->o->machine)], 0, 0);
        break;
    }
}

/* A system call that does nothing but set a0. */
static void add_call_of_system(struct maker *m)
{
    if (((m->keep | m->b->bases) & (1u << 17 | 1u << 10)) == 0) {
        if (m->o->system) {
            uint32_t sc = ASM_SC_W(0, 0, m->b->keeper) | (uint32_t)m->wide << 12;
            add(m, 3, ASM_ADDI(17, 0, SYS_NONE), sc, ASM_ECALL);
        } else {
            add(m, 2, ASM_ADDI(17, 0, SYS_NONE), ASM_ECALL, 0);
        }
    }
}

static void add_any(struct maker *m)
{
    unsigned kind = (unsigned)below(m, 100);

    if (kind < 56) {
        add(m, 1, draw(m, RV_CLASS_COMPUTE, false).bits, 0, 0);
    } else if (kind < 86) {
        add_access(m);
    } else if (kind < 95) {
        add_control(m);
    } else if (kind < 98) {
        add(m, 1, draw(m, RV_CLASS_FCSR, false).bits, 0, 0);
    } else if (kind < 99 && below(m, 16) == 0) {
        add(m, 1, 0x0000100f, 0, 0); /* fence.i; dear: everything translated is compared */
    } else {
        add_call_of_system(m);
    }
}

/* Distinct bases: usually some that short formats and atomics can use, sometimes a far one. */
static void choose_bases(struct maker *m)
{
    static const uint8_t near[] = {2, 8, 9, 10, 14, 15, 21, 30};
    struct block *b = m->b;
    unsigned count = 1 + (unsigned)below(m, 4);

    for (unsigned n = 0; n < count; n++) {
        unsigned reg = near[below(m, sizeof(near))];
        if (reg != b->keeper) {
            b->bases |= 1u << reg;
            b->offset[reg] = (int16_t)(GUEST_SCRATCH_START + 16 * (int)below(m, 8));
        }
    }
    if (below(m, 3) == 0) {
        unsigned reg = 1 + (unsigned)below(m, 31);
        if (reg != b->keeper && !(b->bases >> reg & 1)) {
            b->bases |= 1u << reg;
            b->offset[reg] = (int16_t)((below(m, 2) ? 1968 : -1984) + (int)below(m, 64));
        }
    }
    if (b->bases == 0) {
        unsigned reg = b->keeper == 2 ? 8 : 2;
        b->bases = 1u << reg;
        b->offset[reg] = GUEST_SCRATCH_START;
    }
    /* Something for atomics to use. */
    for (unsigned reg = 1; reg < 32; reg++) {
        if ((b->bases >> reg & 1) && within(b->offset[reg])) {
            return;
        }
    }
    b->offset[(unsigned)__builtin_ctz(b->bases)] = 0;
}

/* Forward targets, known once the number of items is. None is in the function. */
static void choose_targets(struct maker *m)
{
    struct block *b = m->b;

    for (unsigned n = 0; n < b->item_count; n++) {
        unsigned last = b->function, ahead;
        if (b->items[n].patch == BLOCK_PLAIN || b->items[n].target != UNSET) {
            continue;
        }
        ahead = 1 + (unsigned)below(m, 8);
        b->items[n].target = (uint8_t)(n + ahead < last ? n + ahead : last);
    }
}

void block_make(struct block *b, uint64_t seed, const struct block_options *options)
{
    struct maker maker = {b, {seed * UINT64_C(0x9e3779b97f4a7c15) + 1}, options, 0, false},
                 *m = &maker;
    unsigned length, trap, loop_start = 0, loop_end = 0, loop_item = 0;
    bool call;

    memset(b, 0, sizeof(*b));
    b->keeper = below(m, 3) ? 16 + (unsigned)below(m, 16) : 1 + (unsigned)below(m, 31);
    m->keep = 1u << b->keeper;
    m->wide = below(m, 2);
    choose_bases(m);
    b->split = below(m, 2);
    length = 4 + (unsigned)below(m, 32);
    trap = below(m, 8) ? UINT32_MAX : (unsigned)below(m, length);
    if (below(m, 4) == 0) {
        b->counter = free_register(m);
        m->keep |= 1u << b->counter;
        loop_start = (unsigned)below(m, length);
        loop_end = loop_start + (unsigned)below(m, length - loop_start);
    }
    call = below(m, 4) == 0 && b->keeper != 1 && b->counter != 1 && !(b->bases & 2);
    if (call) {
        m->keep |= 2;
    }
    for (unsigned n = 0; n < length; n++) {
        if (n == loop_start) {
            loop_item = b->item_count;
        }
        if (b->counter && n == loop_end) {
            struct block_item *item =
                add(m, 2, ASM_ADDI(b->counter, b->counter, -1), ASM_BNE(b->counter, 0, 0), 0);
            item->patch = BLOCK_BRANCH;
            item->target = (uint8_t)loop_item;
        } else if (n == trap) {
            add_trap(m);
        } else if (call && below(m, 12) == 0) {
            struct block_item *item = add(m, 1, ASM_JAL(1, 0), 0, 0);
            item->patch = BLOCK_BRANCH;
            item->call = true;
        } else {
            add_any(m);
        }
    }
    b->function = b->item_count;
    if (call) {
        unsigned body = 1 + (unsigned)below(m, 6);
        for (unsigned n = 0; n < body; n++) {
            if (below(m, 2)) {
                add(m, 1, draw(m, RV_CLASS_COMPUTE, false).bits, 0, 0);
            } else {
                add_access(m);
            }
        }
    }
    for (unsigned n = 0; n < b->function; n++) {
        if (b->items[n].call) {
            b->items[n].target = (uint8_t)b->function;
        }
    }
    choose_targets(m);
}

void block_make_encoding(struct block *b, uint32_t bits)
{
    memset(b, 0, sizeof(*b));
    /* Not where 32-bit formats, or 16-bit ones with full registers, have rd or rs1. */
    b->keeper = 31;
    while ((bits >> 7 & 31) == b->keeper || (bits >> 15 & 31) == b->keeper) {
        b->keeper--;
    }
    b->item_count = 1;
    b->function = 1;
    b->items[0] = (struct block_item){{bits}, 1, BLOCK_PLAIN, 0, false};
}

static uint32_t patched(uint32_t bits, int distance)
{
    if ((bits & 127) == 0x6f) {
        return (bits & ~ASM_IMM_J_MASK) | asm_imm_j(distance);
    }
    if ((bits & 127) == 0x63) {
        return (bits & ~ASM_IMM_B_MASK) | asm_imm_b(distance);
    }
    if ((bits & 0xe003) == 0xa001) {
        return (bits & ~ASM_IMM_CJ_MASK) | asm_imm_cj(distance);
    }
    return (bits & ~ASM_IMM_CB_MASK) | asm_imm_cb(distance);
}

static unsigned item_size(const struct block_item *item)
{
    unsigned size = 0;

    for (unsigned n = 0; n < item->count; n++) {
        size += rv_length(item->bits[n]);
    }
    return size;
}

static void emit_item(const struct block_item *item, struct guest *g, uint64_t target)
{
    uint64_t start = guest_here(g);

    for (unsigned n = 0; n < item->count; n++) {
        uint32_t bits = item->bits[n];
        if (item->patch == BLOCK_BRANCH && n == item->count - 1u) {
            bits = patched(bits, (int)(target - guest_here(g)));
        } else if (item->patch == BLOCK_COMPUTED && n == 1) {
            bits = (bits & 0xfffff) | (uint32_t)(target - start) << 20;
        }
        guest_emit(g, bits);
    }
}

uint64_t block_emit(const struct block *b, struct guest *g, uint64_t *at)
{
    uint64_t local[BLOCK_MAX_ITEMS + 1], entry = guest_here(g), address, end;

    at = at ? at : local;
    guest_emit_state(g, b->keeper);
    for (unsigned reg = 1; reg < 32; reg++) {
        if (b->bases >> reg & 1) {
            guest_emit(g, ASM_ADDI(reg, b->keeper, b->offset[reg]));
        }
    }
    if (b->counter) {
        guest_emit(g, ASM_ADDI(b->counter, 0, 2 + (int)(b->item_count & 3)));
    }
    if (b->split) {
        guest_emit(g, ASM_JAL(0, 4));
    }
    /* The function lies behind the end, and its return behind its last item. */
    address = guest_here(g);
    for (unsigned n = 0; n < b->item_count; n++) {
        if (n == b->function) {
            address += 12;
        }
        at[n] = address;
        address += item_size(&b->items[n]);
    }
    at[b->item_count] = address;
    end = b->function == b->item_count ? address : at[b->function] - 12;
    for (unsigned n = 0; n < b->item_count; n++) {
        const struct block_item *item = &b->items[n];
        if (n == b->function) {
            guest_emit_end(g, b->keeper);
        }
        emit_item(item, g,
                  item->patch == BLOCK_PLAIN                   ? 0
                  : item->target == b->function && !item->call ? end
                                                               : at[item->target]);
    }
    if (b->function == b->item_count) {
        guest_emit_end(g, b->keeper);
    } else {
        guest_emit(g, ASM_JALR(0, 0, 1));
    }
    return entry;
}
