/*
 * Writes the side table while code is emitted; jit/side.h has the format.
 */
#include "jit/x86_64/compile.h"

static void put(struct jit_code *out, uint8_t byte)
{
    if (out->side_size == out->side_cap) {
        out->side_cap = out->side_cap ? out->side_cap * 2 : 256;
        out->side = realloc(out->side, out->side_cap);
        if (!out->side) {
            abort();
        }
    }
    out->side[out->side_size++] = byte;
}

static void put_varint(struct jit_code *out, uint64_t value)
{
    while (value >= 0x80) {
        put(out, (uint8_t)(value | 0x80));
        value >>= 7;
    }
    put(out, (uint8_t)value);
}

/* What recovery must do to the value: SIDE_RAW_F64, SIDE_RAW_F32, SIDE_F32, or nothing. */
static unsigned raw_flags(const struct x86_compiler *c, ir_ref ref)
{
    if (ref >= c->unit->ins_count) {
        return 0;
    }
    if (x86_ins(c, ref)->type == IR_F32) {
        return x86_ins(c, ref)->flags & IR_VF_CANON ? SIDE_F32 : SIDE_RAW_F32;
    }
    if (x86_ins(c, ref)->type == IR_F64 && !(x86_ins(c, ref)->flags & IR_VF_CANON)) {
        return SIDE_RAW_F64;
    }
    return 0;
}

/* Place of a value, the current one of global g if that is one, as one number: place | flags << 8 |
 * other global << 16, or the constant's ref with bit 31. */
static uint32_t place_of(const struct x86_compiler *c, ir_ref ref, unsigned g)
{
    const struct val *val = &c->val[ref];
    int64_t value;
    unsigned place;

    if (x86_const(c, ref, &value)) {
        return 0x80000000u | ref;
    }
    if (val->fused) {
        return SIDE_SUM;
    }
    if (val->reg != REG_NONE) {
        place = (unsigned)val->reg;
    } else if (val->mem == VAL_SPILL) {
        place = SIDE_SPILL + val->slot;
    } else if (val->global == g) {
        place = SIDE_HOME;
    } else {
        place = SIDE_OTHER_HOME | (unsigned)val->global << 16;
    }
    return place | raw_flags(c, ref) << 8;
}

static void put_part(struct x86_compiler *c, ir_ref ref)
{
    uint32_t place = ref == IR_NONE ? SIDE_CONST : place_of(c, ref, IR_NO_GLOBAL);

    put(c->out, (uint8_t)place);
    put(c->out, (uint8_t)(place >> 16));
}

static void put_sum(struct x86_compiler *c, ir_ref ref)
{
    struct x86_parts parts = x86_parts(c, ref, 0);

    put_part(c, parts.base);
    put_part(c, parts.index);
    put(c->out, parts.scale);
    for (unsigned i = 0; i < 4; i++) {
        put(c->out, (uint8_t)((uint32_t)parts.disp >> 8 * i));
    }
}

void x86_mark(struct x86_compiler *c)
{
    struct jit_code *out = c->out;
    uint32_t count_at;
    unsigned count = 0;
    int64_t pc_delta = (int64_t)(c->insn_pc - c->rec_pc);

    c->rec_at = out->side_size;
    put(out, 0);
    put(out, 0);
    put_varint(out, (uint64_t)pc_delta << 1 ^ (uint64_t)(pc_delta >> 63));
    c->rec_pc = c->insn_pc;
    if (c->rec_reset) {
        put(out, SIDE_RESET);
        memcpy(c->rec, c->entry_rec, c->target->global_count * sizeof(c->rec[0]));
        c->rec_reset = false;
    }
    count_at = out->side_size;
    put(out, 0);
    for (unsigned word = 0; word < IR_MAX_GLOBALS / 64; word++) {
        for (uint64_t set = c->active[word]; set; set &= set - 1) {
            unsigned g = word * 64 + (unsigned)__builtin_ctzll(set);
            uint32_t place = place_of(c, c->map[g], g);

            /* a sum is the same as long as its parts are: that is not known here */
            if (place == c->rec[g] && place != SIDE_SUM) {
                continue;
            }
            c->rec[g] = place;
            count++;
            put(out, (uint8_t)g);
            if (place & 0x80000000u) {
                uint64_t bits = (uint64_t)x86_ins(c, place & 0x7fffffffu)->imm;
                unsigned raw = raw_flags(c, place & 0x7fffffffu);

                put(out, SIDE_CONST | (raw ? SIDE_FLAGS : 0));
                if (raw) {
                    put(out, (uint8_t)raw);
                }
                for (unsigned i = 0; i < 8; i++) {
                    put(out, (uint8_t)(bits >> 8 * i));
                }
            } else {
                uint8_t raw = (uint8_t)(place >> 8);

                put(out, (uint8_t)((place & 0x7f) | (raw ? SIDE_FLAGS : 0)));
                if (raw) {
                    put(out, raw);
                }
                if ((place & 0x7f) == SIDE_OTHER_HOME) {
                    put(out, (uint8_t)(place >> 16));
                } else if (place == SIDE_SUM) {
                    put_sum(c, c->map[g]);
                }
            }
        }
    }
    out->side[count_at] = (uint8_t)count;
}

void x86_mark_here(struct x86_compiler *c)
{
    uint32_t delta = c->a->size - c->rec_offset;

    /* a second instruction of the same op that may fault repeats the mark */
    if (c->rec_at == UINT32_MAX) {
        x86_mark(c);
        delta = c->a->size - c->rec_offset;
    }
    if (delta > UINT16_MAX) {
        abort();
    }
    c->out->side[c->rec_at] = (uint8_t)delta;
    c->out->side[c->rec_at + 1] = (uint8_t)(delta >> 8);
    c->rec_offset = c->a->size;
    c->rec_at = UINT32_MAX;
}
