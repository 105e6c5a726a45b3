/*
 * The decoder: from the bits of an instruction to its row and operands.
 *
 * A row of insns.def becomes a struct rv_row; the search for it walks a tree that gen-decode wrote
 * (constant data, three or four steps). Everything here is pure and any thread may call it.
 */
#ifndef TINAMOU_TARGET_RISCV_DECODE_H
#define TINAMOU_TARGET_RISCV_DECODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "target/riscv/cpu.h"

struct rv_insn;
struct rv_trans;

/* Writes the IR of one instruction. */
typedef void rv_trans_fn(struct rv_trans *t, const struct rv_insn *insn);

enum rv_format {
#define FORMAT(id, letters, text) RV_FORMAT_##id,
#include "target/riscv/formats.def"
#undef FORMAT
    RV_FORMAT_COUNT
};

struct rv_row {
    const char *name;
    const char *pattern; /* as in insns.def */
    uint8_t format;      /* enum rv_format */
    uint8_t ext[2];      /* enum rv_ext */
    bool any_ext;        /* one of the two suffices */
    int arg;
    rv_trans_fn *translate;
};

extern const struct rv_row rv_rows[];
extern const unsigned rv_row_count;

/* The fixed bits of a row, and what they are. */
uint32_t rv_row_mask(const struct rv_row *row);
uint32_t rv_row_match(const struct rv_row *row);
unsigned rv_row_length(const struct rv_row *row); /* in bytes */
/* Whether the row only says that its encodings are illegal. */
bool rv_row_reserved(const struct rv_row *row);

/* What the format takes out of an encoding. Registers that a compressed format implies are filled
 * in; fields that a format has not are not meaningful. */
struct rv_insn {
    const struct rv_row *row;
    uint32_t bits;
    uint8_t length;
    uint8_t rd, rs1, rs2, rs3;
    uint8_t rm;   /* bits 14:12 */
    uint8_t aqrl; /* bit 1 aq, bit 0 rl */
    int64_t imm;  /* CSR number, shift count or round number where the format has one of those */
};

/* Length in bytes of the instruction that starts with these 16 bits. Encodings longer than 32 bits
 * are reserved; they count as 4. */
static inline unsigned rv_length(uint32_t bits)
{
    return (bits & 3) == 3 ? 4 : 2;
}

/* The row of an encoding, NULL if there is none. Reserved rows are found too. */
const struct rv_row *rv_find(uint32_t bits);

static inline bool rv_row_enabled(const struct rv_row *row, const struct rv_ext_set *ext)
{
    bool first = rv_has(ext, (enum rv_ext)row->ext[0]),
         second = rv_has(ext, (enum rv_ext)row->ext[1]);

    return row->any_ext ? first | second : first & second;
}

/* Decodes `bits` (the upper half is ignored if the instruction is compressed). Returns false, with
 * insn->bits and insn->length set, if it is no instruction under these extensions. */
bool rv_decode(struct rv_insn *insn, uint32_t bits, const struct rv_ext_set *ext);

/* Text of a decoded instruction at pc, as binutils print it with -M no-aliases. */
void rv_print(const struct rv_insn *insn, uint64_t pc, char *text, size_t size);

/* Disassembles with every extension on; ".4byte 0x..." or ".2byte 0x..." for what is none. */
void rv_disassemble(uint32_t bits, uint64_t pc, char *text, size_t size);

/* Name of a CSR, NULL if it has none here. */
const char *rv_csr_name(unsigned csr);

#endif
