/*
 * Replays side tables; the format is in side.h.
 */
#include <string.h>
#include "jit/side.h"

static uint64_t read_varint(const uint8_t **p)
{
    uint64_t value = 0;
    unsigned shift = 0;
    uint8_t byte;

    do {
        byte = *(*p)++;
        value |= (uint64_t)(byte & 0x7f) << shift;
        shift += 7;
    } while (byte & 0x80);
    return value;
}

static int64_t read_signed(const uint8_t **p)
{
    uint64_t v = read_varint(p);
    return (int64_t)(v >> 1) ^ -(int64_t)(v & 1);
}

/* Where a global is, as replayed so far. */
struct place {
    uint8_t kind, raw, other;
    uint64_t constant;
    const uint8_t *sum;
};

enum { SUM_SIZE = 9 };

static uint64_t visible(uint64_t bits, unsigned raw)
{
    if (raw == SIDE_RAW_F32 || raw == SIDE_F32) {
        if (raw == SIDE_RAW_F32 && (bits & 0x7fffffff) > 0x7f800000) {
            bits = 0x7fc00000;
        }
        return bits | 0xffffffff00000000u;
    }
    if (raw == SIDE_RAW_F64 && (bits << 1) > 0xffe0000000000000u) {
        return 0x7ff8000000000000u;
    }
    return bits;
}

/* The host as the fault has found it. */
struct source {
    const struct ir_target *target;
    const struct jit_layout *layout;
    const struct jit_host_regs *regs;
    const char *state;
};

/* What is in a register, a slot, or the home of a global. */
static uint64_t fetch_simple(const struct source *from, unsigned kind, unsigned global)
{
    uint64_t value;

    if (kind < 16) {
        return from->regs->gpr[kind];
    }
    if (kind < SIDE_SPILL) {
        return from->regs->vector[kind - 16];
    }
    if (kind < SIDE_HOME) {
        memcpy(&value, from->state + from->layout->spill + 8u * (kind - SIDE_SPILL), 8);
    } else {
        memcpy(&value, from->state + from->target->globals[global].offset, 8);
    }
    return value;
}

static uint64_t fetch_sum(const struct source *from, const uint8_t *p)
{
    uint64_t value;
    int32_t disp;

    memcpy(&disp, p + 5, 4);
    value = (uint64_t)(int64_t)disp;
    for (unsigned part = 0; part < 2; part++) {
        if (p[2 * part] != SIDE_CONST) {
            value += fetch_simple(from, p[2 * part], p[2 * part + 1]) << (part ? p[4] : 0);
        }
    }
    return value;
}

static uint64_t fetch(const struct source *from, const struct place *place, unsigned global)
{
    if (place->kind == SIDE_CONST) {
        return place->constant;
    }
    if (place->kind == SIDE_SUM) {
        return fetch_sum(from, place->sum);
    }
    return fetch_simple(from, place->kind, place->kind == SIDE_OTHER_HOME ? place->other : global);
}

bool jit_recover(const struct ir_target *target, const struct jit_layout *layout,
                 const uint8_t *side, uint32_t side_size, uint64_t unit_pc, uint32_t offset,
                 const struct jit_host_regs *regs, void *state, uint64_t *pc)
{
    const uint8_t *p = side, *end = side + side_size;
    struct place place[IR_MAX_GLOBALS];
    int8_t pin[IR_MAX_GLOBALS];
    const struct source from = {target, layout, regs, state};
    uint64_t at_pc = unit_pc;
    uint32_t at = 0;
    bool found = false;

    jit_x86_pins(target, pin);
    for (unsigned g = 0; g < target->global_count; g++) {
        place[g] = (struct place){.kind = pin[g] >= 0 ? (uint8_t)pin[g] : SIDE_HOME};
    }

    while (p < end) {
        unsigned count;

        at += p[0] | (uint32_t)p[1] << 8;
        p += 2;
        if (at > offset) {
            break;
        }
        at_pc += (uint64_t)read_signed(&p);
        count = *p++;
        if (count == SIDE_RESET) {
            for (unsigned g = 0; g < target->global_count; g++) {
                place[g] = (struct place){.kind = pin[g] >= 0 ? (uint8_t)pin[g] : SIDE_HOME};
            }
            count = *p++;
        }
        while (count--) {
            struct place *to = &place[p[0]];
            unsigned kind = p[1];

            p += 2;
            *to = (struct place){.kind = kind & ~SIDE_FLAGS};
            if (kind & SIDE_FLAGS) {
                to->raw = *p++;
            }
            if (to->kind == SIDE_CONST) {
                memcpy(&to->constant, p, 8);
                p += 8;
            } else if (to->kind == SIDE_OTHER_HOME) {
                to->other = *p++;
            } else if (to->kind == SIDE_SUM) {
                to->sum = p;
                p += SUM_SIZE;
            }
        }
        found = at == offset;
    }
    if (!found) {
        return false;
    }

    uint64_t value[IR_MAX_GLOBALS];
    for (unsigned g = 0; g < target->global_count; g++) {
        value[g] = visible(fetch(&from, &place[g], g), place[g].raw);
    }
    for (unsigned g = 0; g < target->global_count; g++) {
        memcpy((char *)state + target->globals[g].offset, &value[g], 8);
    }
    *pc = at_pc;
    return true;
}
