/*
 * Fields are filled in by their letter in the row's pattern; then the encoding is decoded, and
 * drawn again if that shows an operand that the options forbid (a compressed access through x2,
 * say).
 */
#include "target/riscv/random.h"
#include <string.h>
#include "target/riscv/trans.h"

uint64_t rv_random_next(struct rv_random *random)
{
    uint64_t z = random->state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

enum rv_class rv_row_class(const struct rv_row *row)
{
    static const struct {
        rv_trans_fn *fn;
        enum rv_class class;
    } classes[] = {
        {rv_trans_load, RV_CLASS_MEMORY},      {rv_trans_store, RV_CLASS_MEMORY},
        {rv_trans_fload, RV_CLASS_MEMORY},     {rv_trans_fstore, RV_CLASS_MEMORY},
        {rv_trans_amo8, RV_CLASS_MEMORY},      {rv_trans_amo16, RV_CLASS_MEMORY},
        {rv_trans_amo32, RV_CLASS_MEMORY},     {rv_trans_amo64, RV_CLASS_MEMORY},
        {rv_trans_amocas, RV_CLASS_MEMORY},    {rv_trans_amocas_q, RV_CLASS_MEMORY},
        {rv_trans_lr, RV_CLASS_MEMORY},        {rv_trans_sc, RV_CLASS_MEMORY},
        {rv_trans_cbo_zero, RV_CLASS_MEMORY},  {rv_trans_cbo_touch, RV_CLASS_MEMORY},
        {rv_trans_jal, RV_CLASS_CONTROL},      {rv_trans_jalr, RV_CLASS_CONTROL},
        {rv_trans_branch, RV_CLASS_CONTROL},   {rv_trans_csr, RV_CLASS_FCSR},
        {rv_trans_csri, RV_CLASS_FCSR},        {rv_trans_ecall, RV_CLASS_SYSTEM},
        {rv_trans_ebreak, RV_CLASS_SYSTEM},    {rv_trans_fence_i, RV_CLASS_SYSTEM},
        {rv_trans_host_call, RV_CLASS_SYSTEM}, {rv_trans_illegal, RV_CLASS_SYSTEM},
        {rv_trans_mret, RV_CLASS_SYSTEM},      {rv_trans_sret, RV_CLASS_SYSTEM},
        {rv_trans_wfi, RV_CLASS_SYSTEM},       {rv_trans_sfence_vma, RV_CLASS_SYSTEM},
        {rv_trans_cbo_inval, RV_CLASS_SYSTEM}, {rv_trans_sfence_inval, RV_CLASS_SYSTEM},
    };

    for (unsigned n = 0; n < sizeof(classes) / sizeof(classes[0]); n++) {
        if (row->translate == classes[n].fn) {
            return classes[n].class;
        }
    }
    return RV_CLASS_COMPUTE;
}

/* A value for the `width` bits of one letter; last: the one drawn before for a register. */
static uint32_t draw_field(struct rv_random *random, const struct rv_random_options *o,
                           const struct rv_row *row, char letter, unsigned width, uint32_t *last)
{
    static const uint8_t favourites[8] = {10, 11, 12, 13, 8, 9, 15, 0};
    uint64_t r = rv_random_next(random);
    uint32_t all = (1u << width) - 1, value;

    switch (letter) {
    case 'd':
    case 's':
    case 't':
    case 'u':
        if ((r & 3) == 0) {
            return *last & all;
        }
        value = (r & 7) < 6 ? favourites[r >> 8 & 7] : (uint32_t)(r >> 16);
        /* in three bits x8 to x15 */
        return *last = value & all;
    case 'r':
        value = r & 1 ? 7 : (uint32_t)(r >> 8) % (o->reserved_rm ? 8 : 5);
        return value;
    case 'i':
        if (row->format == RV_FORMAT_CSR || row->format == RV_FORMAT_CSRI) {
            return (uint32_t)(1 + (r >> 8) % 3);
        }
        switch (r & 7) {
        case 0:
            return 0;
        case 1:
            return all;
        case 2:
            return 1u << (r >> 8) % width;
        case 3:
            return all ^ 1u << (r >> 8) % width;
        default:
            return (uint32_t)(r >> 8) & all;
        }
    case '-':
        return 0;
    default: /* q */
        return (uint32_t)(r >> 8) & all;
    }
}

/* Fills in all letters of the pattern. The bits of one letter need not be adjacent. */
static uint32_t draw(struct rv_random *random, const struct rv_random_options *o,
                     const struct rv_row *row)
{
    char letters[33];
    unsigned length = 0;
    uint32_t bits = rv_row_match(row), last = (uint32_t)rv_random_next(random);

    for (const char *p = row->pattern; *p; p++) {
        if (*p != ' ') {
            letters[length++] = *p;
        }
    }
    letters[length] = 0;
    for (const char *c = "dstuirq"; *c; c++) {
        unsigned width = 0;
        uint32_t value;
        for (unsigned n = 0; n < length; n++) {
            width += letters[n] == *c;
        }
        if (width == 0) {
            continue;
        }
        value = draw_field(random, o, row, *c, width, &last);
        for (unsigned n = length; n-- > 0;) {
            if (letters[n] == *c) {
                bits |= (value & 1) << (length - 1 - n);
                value >>= 1;
            }
        }
    }
    return bits;
}

static bool writes_x(const struct rv_row *row)
{
    static const char *const texts[] = {
#define FORMAT(id, letters, text) text,
#include "target/riscv/formats.def"
#undef FORMAT
    };

    return strchr(texts[row->format], 'd') || row->format == RV_FORMAT_CJALR;
}

/* Operands that translate functions refuse. */
static bool reserved_operands(const struct rv_insn *insn)
{
    if (insn->row->translate == rv_trans_amocas_q) {
        return (insn->rd | insn->rs2) & 1;
    }
    return insn->row->translate == rv_trans_aes64ks1i && insn->imm > 10;
}

static bool acceptable(const struct rv_random_options *o, const struct rv_insn *insn)
{
    enum rv_class class = rv_row_class(insn->row);

    if (!(o->classes & class) || (!(o->classes & RV_CLASS_SYSTEM) && reserved_operands(insn))) {
        return false;
    }
    if (class == RV_CLASS_MEMORY && o->bases && !(o->bases >> insn->rs1 & 1)) {
        return false;
    }
    if (writes_x(insn->row)) {
        uint32_t written = 1u << insn->rd;
        if (insn->row->translate == rv_trans_amocas_q) {
            written |= written << 1;
        }
        return !((o->keep | o->bases) & ~1u & written);
    }
    return true;
}

uint32_t rv_random_insn(struct rv_random *random, const struct rv_random_options *options)
{
    for (unsigned tries = 0; tries < 100000; tries++) {
        const struct rv_row *row = &rv_rows[rv_random_next(random) % rv_row_count];
        struct rv_insn insn;
        if (!(rv_row_class(row) & options->classes) || !rv_row_enabled(row, options->ext)) {
            continue;
        }
        /* A base register is one of 32: give a row several chances, or accesses become rare. */
        for (unsigned again = 0; again < 64; again++) {
            uint32_t bits = draw(random, options, row);
            if (options->bases && rv_row_class(row) == RV_CLASS_MEMORY && rv_length(bits) == 4) {
                unsigned base = (unsigned)(rv_random_next(random) & 31);
                while (!(options->bases >> base & 1)) {
                    base = (base + 1) & 31;
                }
                bits = (bits & ~(31u << 15)) | base << 15;
            }
            if (rv_decode(&insn, bits, options->ext) && acceptable(options, &insn)) {
                return bits;
            }
        }
    }
    return 0;
}
