/*
 * Rows as data, the search through the tree, and the operand formats.
 *
 * The tree leaves one candidate, or a few where rows overlap; comparing masks settles the bits
 * that the tree never looked at. Operands are taken out by one switch on the format. A compressed
 * format fills in what its encoding implies (x2, x0, rd = rs1), so that the row can name the
 * function of the full instruction.
 */
#include "target/riscv/decode.h"
#include "jit/ir/ir.h"
#include "target/riscv/helper.h"
#include "target/riscv/trans.h"
#include "util/bits.h"

#include "build/gen/target/riscv/decode-tables.c.inc"

#define E1(a)      {RV_EXT_##a, RV_EXT_##a}, false
#define EAND(a, b) {RV_EXT_##a, RV_EXT_##b}, false
#define EOR(a, b)  {RV_EXT_##a, RV_EXT_##b}, true

const struct rv_row rv_rows[] = {
#define INSN(name, pattern, format, ext, fn, arg) \
    {name, pattern, RV_FORMAT_##format, ext, arg, rv_trans_##fn},
#include "target/riscv/insns.def"
#undef INSN
};

const unsigned rv_row_count = BITS_ARRAY_SIZE(rv_rows);

_Static_assert(BITS_ARRAY_SIZE(rv_rows) == BITS_ARRAY_SIZE(rv_bits), "stale decode tables");

uint32_t rv_row_mask(const struct rv_row *row)
{
    return rv_bits[row - rv_rows][0];
}

uint32_t rv_row_match(const struct rv_row *row)
{
    return rv_bits[row - rv_rows][1];
}

unsigned rv_row_length(const struct rv_row *row)
{
    return rv_length(rv_row_match(row));
}

bool rv_row_reserved(const struct rv_row *row)
{
    return row->translate == rv_trans_illegal;
}

static inline bool row_fits(unsigned row, uint32_t bits)
{
    return (bits & rv_bits[row][0]) == rv_bits[row][1];
}

static inline const struct rv_row *find(uint32_t bits)
{
    unsigned node = (bits & 3) == 3 ? RV_TREE_32 : RV_TREE_16;

    do {
        unsigned header = rv_tree[node];
        node = rv_tree[node + 1 + (bits >> (header & 255) & ((1u << (header >> 8)) - 1))];
    } while (node != 0 && node < 0x4000);
    if (node == 0) {
        return NULL;
    }
    if (node & 0x8000) {
        node &= 0x7fff;
        return row_fits(node, bits) ? &rv_rows[node] : NULL;
    }
    for (const uint16_t *p = &rv_list[node & 0x3fff];; p++) {
        if (row_fits(*p & 0x7fff, bits)) {
            return &rv_rows[*p & 0x7fff];
        }
        if (*p & 0x8000) {
            return NULL;
        }
    }
}

const struct rv_row *rv_find(uint32_t bits)
{
    return find(bits);
}

#define BITS(pos, len, to) ((w >> (pos) & ((1u << (len)) - 1)) << (to))

static int64_t imm_i(uint32_t w)
{
    return (int32_t)w >> 20;
}

static int64_t imm_s(uint32_t w)
{
    return ((int32_t)(w & 0xfe000000) >> 20) | (int64_t)BITS(7, 5, 0);
}

static int64_t imm_b(uint32_t w)
{
    return ((int32_t)(w & 0x80000000) >> 19) |
           (int64_t)(BITS(7, 1, 11) | BITS(25, 6, 5) | BITS(8, 4, 1));
}

static int64_t imm_j(uint32_t w)
{
    return ((int32_t)(w & 0x80000000) >> 11) |
           (int64_t)(BITS(12, 8, 12) | BITS(20, 1, 11) | BITS(21, 10, 1));
}

static void extract32(struct rv_insn *d, uint32_t w)
{
    d->rd = w >> 7 & 31;
    d->rs1 = w >> 15 & 31;
    d->rs2 = w >> 20 & 31;
    d->rs3 = w >> 27;
    d->rm = w >> 12 & 7;
    d->aqrl = w >> 25 & 3;
    switch ((enum rv_format)d->row->format) {
    case RV_FORMAT_I:
    case RV_FORMAT_LOAD:
    case RV_FORMAT_FLOAD:
    case RV_FORMAT_HOST:
        d->imm = imm_i(w);
        break;
    case RV_FORMAT_STORE:
    case RV_FORMAT_FSTORE:
        d->imm = imm_s(w);
        break;
    case RV_FORMAT_B:
        d->imm = imm_b(w);
        break;
    case RV_FORMAT_U:
        d->imm = (int32_t)(w & 0xfffff000);
        break;
    case RV_FORMAT_J:
        d->imm = imm_j(w);
        break;
    case RV_FORMAT_SH6:
        d->imm = w >> 20 & 63;
        break;
    case RV_FORMAT_SH5:
        d->imm = w >> 20 & 31;
        break;
    case RV_FORMAT_RNUM:
        d->imm = w >> 20 & 15;
        break;
    case RV_FORMAT_CSR:
    case RV_FORMAT_CSRI:
    case RV_FORMAT_FENCE:
        d->imm = w >> 20;
        break;
    case RV_FORMAT_PREFETCH:
        d->imm = (int32_t)(w & 0xfe000000) >> 20;
        break;
    case RV_FORMAT_MOPR:
        d->imm = (int64_t)(BITS(30, 1, 4) | BITS(26, 2, 2) | BITS(20, 2, 0));
        break;
    case RV_FORMAT_MOPRR:
        d->imm = (int64_t)(BITS(30, 1, 2) | BITS(26, 2, 0));
        break;
    default:
        d->imm = 0;
        break;
    }
}

/* The six-bit immediate of CI formats: signed, and as a shift count. */
static int64_t imm_ci(uint32_t w)
{
    return bits_sext(BITS(12, 1, 5) | BITS(2, 5, 0), 6);
}

static int64_t imm_cish(uint32_t w)
{
    return (int64_t)(BITS(12, 1, 5) | BITS(2, 5, 0));
}

static void extract16(struct rv_insn *d, uint32_t w)
{
    uint8_t high = w >> 7 & 31, low = w >> 2 & 31;             /* full register fields */
    uint8_t high3 = 8 + (w >> 7 & 7), low3 = 8 + (w >> 2 & 7); /* short ones */

    d->rd = d->rs1 = d->rs2 = d->rs3 = d->rm = d->aqrl = 0;
    d->imm = 0;
    switch ((enum rv_format)d->row->format) {
    case RV_FORMAT_CIW:
        d->rd = low3;
        d->rs1 = 2;
        d->imm = (int64_t)(BITS(7, 4, 6) | BITS(11, 2, 4) | BITS(5, 1, 3) | BITS(6, 1, 2));
        break;
    case RV_FORMAT_CLW:
    case RV_FORMAT_CSW:
        d->rd = d->rs2 = low3;
        d->rs1 = high3;
        d->imm = (int64_t)(BITS(5, 1, 6) | BITS(10, 3, 3) | BITS(6, 1, 2));
        break;
    case RV_FORMAT_CLD:
    case RV_FORMAT_CSD:
    case RV_FORMAT_CLFD:
    case RV_FORMAT_CSFD:
        d->rd = d->rs2 = low3;
        d->rs1 = high3;
        d->imm = (int64_t)(BITS(5, 2, 6) | BITS(10, 3, 3));
        break;
    case RV_FORMAT_CLB:
    case RV_FORMAT_CSB:
        d->rd = d->rs2 = low3;
        d->rs1 = high3;
        d->imm = (int64_t)(BITS(5, 1, 1) | BITS(6, 1, 0));
        break;
    case RV_FORMAT_CLH:
    case RV_FORMAT_CSH:
        d->rd = d->rs2 = low3;
        d->rs1 = high3;
        d->imm = (int64_t)BITS(5, 1, 1);
        break;
    case RV_FORMAT_CI:
    case RV_FORMAT_CNOP:
        d->rd = d->rs1 = high;
        d->imm = imm_ci(w);
        break;
    case RV_FORMAT_CLI:
        d->rd = high;
        d->imm = imm_ci(w);
        break;
    case RV_FORMAT_CLUI:
        d->rd = high;
        d->imm = imm_ci(w) * 4096;
        break;
    case RV_FORMAT_CI16SP:
        d->rd = d->rs1 = 2;
        d->imm = bits_sext(
            BITS(12, 1, 9) | BITS(3, 2, 7) | BITS(5, 1, 6) | BITS(2, 1, 5) | BITS(6, 1, 4), 10);
        break;
    case RV_FORMAT_CMOP:
        d->imm = high;
        break;
    case RV_FORMAT_CISH:
        d->rd = d->rs1 = high;
        d->imm = imm_cish(w);
        break;
    case RV_FORMAT_CBSH:
        d->rd = d->rs1 = high3;
        d->imm = imm_cish(w);
        break;
    case RV_FORMAT_CBI:
        d->rd = d->rs1 = high3;
        d->imm = imm_ci(w);
        break;
    case RV_FORMAT_CA:
        d->rd = d->rs1 = high3;
        d->rs2 = low3;
        break;
    case RV_FORMAT_CU:
        d->rd = d->rs1 = high3;
        break;
    case RV_FORMAT_CU255:
        d->rd = d->rs1 = high3;
        d->imm = 255;
        break;
    case RV_FORMAT_CUM1:
        d->rd = d->rs1 = high3;
        d->imm = -1;
        break;
    case RV_FORMAT_CJ:
        d->imm = bits_sext(BITS(12, 1, 11) | BITS(8, 1, 10) | BITS(9, 2, 8) | BITS(6, 1, 7) |
                               BITS(7, 1, 6) | BITS(2, 1, 5) | BITS(11, 1, 4) | BITS(3, 3, 1),
                           12);
        break;
    case RV_FORMAT_CB:
        d->rs1 = high3;
        d->imm = bits_sext(
            BITS(12, 1, 8) | BITS(5, 2, 6) | BITS(2, 1, 5) | BITS(10, 2, 3) | BITS(3, 2, 1), 9);
        break;
    case RV_FORMAT_CJR:
        d->rs1 = high;
        break;
    case RV_FORMAT_CJALR:
        d->rd = 1;
        d->rs1 = high;
        break;
    case RV_FORMAT_CMV:
        d->rd = high;
        d->rs2 = low;
        break;
    case RV_FORMAT_CADD:
        d->rd = d->rs1 = high;
        d->rs2 = low;
        break;
    case RV_FORMAT_CLWSP:
        d->rd = high;
        d->rs1 = 2;
        d->imm = (int64_t)(BITS(2, 2, 6) | BITS(12, 1, 5) | BITS(4, 3, 2));
        break;
    case RV_FORMAT_CLDSP:
    case RV_FORMAT_CFLDSP:
        d->rd = high;
        d->rs1 = 2;
        d->imm = (int64_t)(BITS(2, 3, 6) | BITS(12, 1, 5) | BITS(5, 2, 3));
        break;
    case RV_FORMAT_CSWSP:
        d->rs2 = low;
        d->rs1 = 2;
        d->imm = (int64_t)(BITS(7, 2, 6) | BITS(9, 4, 2));
        break;
    case RV_FORMAT_CSDSP:
    case RV_FORMAT_CFSDSP:
        d->rs2 = low;
        d->rs1 = 2;
        d->imm = (int64_t)(BITS(7, 3, 6) | BITS(10, 3, 3));
        break;
    default:
        break;
    }
}

/* Operands of the given row, whether it is enabled or not. */
static void extract(struct rv_insn *insn)
{
    if (insn->length == 4) {
        extract32(insn, insn->bits);
    } else {
        extract16(insn, insn->bits);
    }
}

bool rv_decode(struct rv_insn *insn, uint32_t bits, const struct rv_ext_set *ext)
{
    const struct rv_row *row;

    insn->length = (uint8_t)rv_length(bits);
    insn->bits = bits = insn->length == 4 ? bits : bits & 0xffff;
    insn->row = row = find(bits);
    if (row == NULL || !rv_row_enabled(row, ext)) {
        return false;
    }
    extract(insn);
    return true;
}
