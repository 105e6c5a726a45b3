/*
 * Text of an instruction, by its row's format. The style is that of binutils with -M no-aliases:
 * the row's own mnemonic, ABI register names, no pseudo-instructions.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "target/riscv/decode.h"
#include "util/bits.h"

static const char x_names[32][5] = {
    "zero", "ra", "sp", "gp", "tp",  "t0",  "t1", "t2", "s0", "s1", "a0",
    "a1",   "a2", "a3", "a4", "a5",  "a6",  "a7", "s2", "s3", "s4", "s5",
    "s6",   "s7", "s8", "s9", "s10", "s11", "t3", "t4", "t5", "t6",
};
static const char f_names[32][5] = {
    "ft0", "ft1", "ft2", "ft3", "ft4",  "ft5",  "ft6", "ft7", "fs0",  "fs1",  "fa0",
    "fa1", "fa2", "fa3", "fa4", "fa5",  "fa6",  "fa7", "fs2", "fs3",  "fs4",  "fs5",
    "fs6", "fs7", "fs8", "fs9", "fs10", "fs11", "ft8", "ft9", "ft10", "ft11",
};
static const char rm_names[8][8] = {"rne", "rtz", "rdn", "rup", "rmm", "unknown", "unknown", "dyn"};

/* As binutils write the constants of fli. */
static const char *const fli_names[32] = {
    "-0x1p+0", "min",      "0x1p-16",  "0x1p-15",  "0x1p-8",  "0x1p-7",   "0x1p-4",   "0x1p-3",
    "0x1p-2",  "0x1.4p-2", "0x1.8p-2", "0x1.cp-2", "0x1p-1",  "0x1.4p-1", "0x1.8p-1", "0x1.cp-1",
    "0x1p+0",  "0x1.4p+0", "0x1.8p+0", "0x1.cp+0", "0x1p+1",  "0x1.4p+1", "0x1.8p+1", "0x1p+2",
    "0x1p+3",  "0x1p+4",   "0x1p+7",   "0x1p+8",   "0x1p+15", "0x1p+16",  "inf",      "nan",
};

struct out {
    char *text;
    size_t size, used; /* size includes the NUL, and is at least 1 */
};

static void __attribute__((format(printf, 2, 3))) put(struct out *o, const char *fmt, ...)
{
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(o->text + o->used, o->size - o->used, fmt, ap);
    va_end(ap);
    if (n > 0) {
        o->used += (size_t)n;
        o->used = o->used < o->size ? o->used : o->size - 1;
    }
}

static void put_fence_set(struct out *o, unsigned set)
{
    if (set == 0) {
        put(o, "unknown");
        return;
    }
    put(o, "%s%s%s%s", set & 8 ? "i" : "", set & 4 ? "o" : "", set & 2 ? "r" : "",
        set & 1 ? "w" : "");
}

static void put_operand(struct out *o, char letter, const struct rv_insn *d, uint64_t pc)
{
    switch (letter) {
    case 'd':
        put(o, "%s", x_names[d->rd]);
        break;
    case 's':
        put(o, "%s", x_names[d->rs1]);
        break;
    case 't':
        put(o, "%s", x_names[d->rs2]);
        break;
    case 'D':
        put(o, "%s", f_names[d->rd]);
        break;
    case 'S':
        put(o, "%s", f_names[d->rs1]);
        break;
    case 'T':
        put(o, "%s", f_names[d->rs2]);
        break;
    case 'R':
        put(o, "%s", f_names[d->rs3]);
        break;
    case 'j':
    case 'N':
        put(o, "%" PRId64, d->imm);
        break;
    case 'x':
        put(o, "0x%" PRIx64, (uint64_t)d->imm >> 12 & 0xfffff);
        break;
    case 'y':
        put(o, "0x%" PRIx64, (uint64_t)d->imm);
        break;
    case 'p':
        put(o, "0x%" PRIx64, pc + (uint64_t)d->imm);
        break;
    case 'E':
        if (rv_csr_name((unsigned)d->imm)) {
            put(o, "%s", rv_csr_name((unsigned)d->imm));
        } else {
            put(o, "0x%" PRIx64, (uint64_t)d->imm);
        }
        break;
    case 'Z':
        put(o, "%u", d->rs1);
        break;
    case 'm':
        if (d->rm != 7) {
            put(o, ",%s", rm_names[d->rm]);
        }
        break;
    case 'M':
        if (d->rm != 0) {
            put(o, ",%s", rm_names[d->rm]);
        }
        break;
    case 'P':
        put_fence_set(o, d->imm >> 4 & 15);
        break;
    case 'Q':
        put_fence_set(o, d->imm & 15);
        break;
    case 'L':
        put(o, "%s", fli_names[d->rs1]);
        break;
    default:
        put(o, "%c", letter);
        break;
    }
}

void rv_print(const struct rv_insn *insn, uint64_t pc, char *text, size_t size)
{
    static const char *const formats[] = {
#define FORMAT(id, letters, text) text,
#include "target/riscv/formats.def"
#undef FORMAT
    };
    const char *p = formats[insn->row->format];
    struct out o = {text, size, 0};

    put(&o, "%s", insn->row->name);
    if (insn->row->format == RV_FORMAT_AMO || insn->row->format == RV_FORMAT_LR) {
        static const char *const suffix[4] = {"", ".rl", ".aq", ".aqrl"};
        put(&o, "%s", suffix[insn->aqrl]);
    }
    if (*p == 'N') {
        put_operand(&o, *p++, insn, pc);
    }
    if (*p) {
        put(&o, " ");
    }
    while (*p) {
        put_operand(&o, *p++, insn, pc);
    }
}

void rv_disassemble(uint32_t bits, uint64_t pc, char *text, size_t size)
{
    static const struct rv_ext_set all = {{UINT64_MAX, UINT64_MAX}};
    struct rv_insn insn;

    if (rv_decode(&insn, bits, &all)) {
        rv_print(&insn, pc, text, size);
    } else if (insn.length == 2) {
        snprintf(text, size, ".2byte 0x%04x", insn.bits);
    } else {
        snprintf(text, size, ".4byte 0x%08x", insn.bits);
    }
}
