/*
 * x86-64 instruction encoder: the few forms that generated code is made of. Appends to a growing
 * byte buffer; knows nothing of IR or registers' meaning. Encodings follow the Intel SDM, volume 2.
 */
#ifndef TINAMOU_JIT_X86_64_ASM_H
#define TINAMOU_JIT_X86_64_ASM_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum x86_reg {
    RAX,
    RCX,
    RDX,
    RBX,
    RSP,
    RBP,
    RSI,
    RDI,
    R8,
    R9,
    R10,
    R11,
    R12,
    R13,
    R14,
    R15,
};
enum { XMM0 = 0, XMM15 = 15 };

/* Condition codes as in Jcc, SETcc, CMOVcc. */
enum x86_cond {
    X86_O,
    X86_NO,
    X86_B,
    X86_AE,
    X86_E,
    X86_NE,
    X86_BE,
    X86_A,
    X86_S,
    X86_NS,
    X86_P,
    X86_NP,
    X86_L,
    X86_GE,
    X86_LE,
    X86_G,
};

/* The eight group-1 ALU operations, as in opcode extension /n. */
enum x86_alu { ALU_ADD, ALU_OR, ALU_ADC, ALU_SBB, ALU_AND, ALU_SUB, ALU_XOR, ALU_CMP };
/* Group-2 shifts. */
enum x86_shift { SH_ROL, SH_ROR, SH_SHL = 4, SH_SHR = 5, SH_SAR = 7 };

struct x86_asm {
    uint8_t *base;
    uint32_t size, cap;
};

/* A memory operand [base + index * 2^scale + disp], with the gs segment if seg. */
struct x86_mem {
    int8_t base;   /* -1: none */
    int8_t index;  /* -1: none */
    uint8_t scale; /* log2 */
    bool seg;
    int32_t disp;
};

static inline struct x86_mem x86_mem(int base, int32_t disp)
{
    return (struct x86_mem){.base = (int8_t)base, .index = -1, .disp = disp};
}

/* Room for the longest instruction sequence between two calls. */
static inline void x86_reserve(struct x86_asm *a)
{
    if (a->size + 64 > a->cap) {
        a->cap = a->cap ? a->cap * 2 : 4096;
        a->base = realloc(a->base, a->cap);
        if (!a->base) {
            abort();
        }
    }
}

static inline void x86_u8(struct x86_asm *a, unsigned byte)
{
    a->base[a->size++] = (uint8_t)byte;
}

static inline void x86_u32(struct x86_asm *a, uint32_t value)
{
    memcpy(a->base + a->size, &value, 4);
    a->size += 4;
}

static inline void x86_u64(struct x86_asm *a, uint64_t value)
{
    memcpy(a->base + a->size, &value, 8);
    a->size += 8;
}

static inline void x86_modrm_mem(struct x86_asm *a, int reg, struct x86_mem m)
{
    bool small = m.disp >= -128 && m.disp <= 127;

    if (m.base < 0) {
        /* mod 0 with base 5: the displacement alone, always of 32 bits */
        x86_u8(a, (reg & 7) << 3 | 4);
        x86_u8(a, (unsigned)m.scale << 6 | (m.index < 0 ? 4 : (unsigned)m.index & 7) << 3 | 5);
        x86_u32(a, (uint32_t)m.disp);
        return;
    }
    /* rbp and r13 have no form without displacement */
    unsigned mod = m.disp == 0 && (m.base & 7) != 5 ? 0 : small ? 1 : 2;
    if (m.index >= 0 || (m.base & 7) == 4) {
        unsigned index = m.index >= 0 ? (unsigned)m.index & 7 : 4;
        x86_u8(a, mod << 6 | (reg & 7) << 3 | 4);
        x86_u8(a, (unsigned)m.scale << 6 | index << 3 | (m.base & 7));
    } else {
        x86_u8(a, mod << 6 | (reg & 7) << 3 | (m.base & 7));
    }
    if (mod == 1) {
        x86_u8(a, (uint8_t)m.disp);
    } else if (mod == 2) {
        x86_u32(a, (uint32_t)m.disp);
    }
}

/* An opcode: the byte, the map (0: one byte, 1: 0f, 2: 0f38, 3: 0f3a) and the mandatory prefix. */
#define X86_OP(map, prefix, byte) ((map) << 16 | (prefix) << 8 | (byte))

static inline void x86_opcode(struct x86_asm *a, unsigned op, bool w, bool byte_reg, int reg,
                              int index, int base)
{
    unsigned map = op >> 16, prefix = op >> 8 & 0xff;
    unsigned rex = (unsigned)w << 3 | (reg >> 3 & 1) << 2 | (index >> 3 & 1) << 1 | (base >> 3 & 1);

    if (prefix) {
        x86_u8(a, prefix);
    }
    if (rex || byte_reg) {
        x86_u8(a, 0x40 | rex);
    }
    if (map) {
        x86_u8(a, 0x0f);
    }
    if (map == 2) {
        x86_u8(a, 0x38);
    } else if (map == 3) {
        x86_u8(a, 0x3a);
    }
    x86_u8(a, op);
}

/* op reg, rm (both registers); w: 64-bit. */
static inline void x86_rr(struct x86_asm *a, unsigned op, bool w, int reg, int rm)
{
    x86_reserve(a);
    x86_opcode(a, op, w, false, reg, 0, rm);
    x86_u8(a, 0xc0 | (reg & 7) << 3 | (rm & 7));
}

/* As x86_rr() where reg or rm is an 8-bit register: spl..dil need a REX prefix. */
static inline void x86_rr8(struct x86_asm *a, unsigned op, int reg, int rm)
{
    x86_reserve(a);
    x86_opcode(a, op, false, reg >= 4 || rm >= 4, reg, 0, rm);
    x86_u8(a, 0xc0 | (reg & 7) << 3 | (rm & 7));
}

static inline void x86_rm(struct x86_asm *a, unsigned op, bool w, int reg, struct x86_mem m)
{
    x86_reserve(a);
    if (m.seg) {
        x86_u8(a, 0x65);
    }
    x86_opcode(a, op, w, false, reg, m.index < 0 ? 0 : m.index, m.base < 0 ? 0 : m.base);
    x86_modrm_mem(a, reg, m);
}

static inline void x86_rm8(struct x86_asm *a, unsigned op, int reg, struct x86_mem m)
{
    x86_reserve(a);
    if (m.seg) {
        x86_u8(a, 0x65);
    }
    x86_opcode(a, op, false, reg >= 4, reg, m.index < 0 ? 0 : m.index, m.base < 0 ? 0 : m.base);
    x86_modrm_mem(a, reg, m);
}

/* VEX-encoded: reg = op(vvvv, rm). pp: 0 none, 1 66, 2 f3, 3 f2. map as above (1..3). */
static inline void x86_vex(struct x86_asm *a, unsigned map, unsigned pp, unsigned byte, bool w,
                           int reg, int vvvv, int index, int base)
{
    unsigned r = !(reg & 8), x = !(index & 8), b = !(base & 8);

    if (x && b && map == 1 && !w) {
        x86_u8(a, 0xc5);
        x86_u8(a, r << 7 | (~vvvv & 15) << 3 | pp);
    } else {
        x86_u8(a, 0xc4);
        x86_u8(a, r << 7 | x << 6 | b << 5 | map);
        x86_u8(a, (unsigned)w << 7 | (~vvvv & 15) << 3 | pp);
    }
    x86_u8(a, byte);
}

static inline void x86_vex_rr(struct x86_asm *a, unsigned map, unsigned pp, unsigned byte, bool w,
                              int reg, int vvvv, int rm)
{
    x86_reserve(a);
    x86_vex(a, map, pp, byte, w, reg, vvvv, 0, rm);
    x86_u8(a, 0xc0 | (reg & 7) << 3 | (rm & 7));
}

static inline void x86_mov_rr(struct x86_asm *a, bool w, int to, int from)
{
    x86_rr(a, 0x8b, w, to, from);
}

static inline void x86_load(struct x86_asm *a, bool w, int to, struct x86_mem m)
{
    x86_rm(a, 0x8b, w, to, m);
}

static inline void x86_store(struct x86_asm *a, bool w, int from, struct x86_mem m)
{
    x86_rm(a, 0x89, w, from, m);
}

/* mov reg, imm in its shortest form; leaves the flags alone. */
static inline void x86_mov_imm(struct x86_asm *a, int to, int64_t imm)
{
    x86_reserve(a);
    if ((uint64_t)imm <= UINT32_MAX) {
        x86_opcode(a, 0xb8 | (to & 7), false, false, 0, 0, to);
        x86_u32(a, (uint32_t)imm);
    } else if (imm == (int32_t)imm) {
        x86_rr(a, 0xc7, true, 0, to);
        x86_u32(a, (uint32_t)imm);
    } else {
        x86_opcode(a, 0xb8 | (to & 7), true, false, 0, 0, to);
        x86_u64(a, (uint64_t)imm);
    }
}

/* mov [m], imm32 (sign-extended where w). */
static inline void x86_store_imm(struct x86_asm *a, bool w, int32_t imm, struct x86_mem m)
{
    x86_rm(a, 0xc7, w, 0, m);
    x86_u32(a, (uint32_t)imm);
}

static inline void x86_alu_rr(struct x86_asm *a, enum x86_alu op, bool w, int to, int from)
{
    x86_rr(a, 8u * op + 3, w, to, from);
}

static inline void x86_alu_rm(struct x86_asm *a, enum x86_alu op, bool w, int to, struct x86_mem m)
{
    x86_rm(a, 8u * op + 3, w, to, m);
}

static inline void x86_alu_imm(struct x86_asm *a, enum x86_alu op, bool w, int to, int32_t imm)
{
    if (imm >= -128 && imm <= 127) {
        x86_rr(a, 0x83, w, op, to);
        x86_u8(a, (uint8_t)imm);
    } else {
        x86_rr(a, 0x81, w, op, to);
        x86_u32(a, (uint32_t)imm);
    }
}

static inline void x86_alu_mem_imm(struct x86_asm *a, enum x86_alu op, bool w, struct x86_mem m,
                                   int32_t imm)
{
    bool small = imm >= -128 && imm <= 127;
    x86_rm(a, small ? 0x83 : 0x81, w, op, m);
    if (small) {
        x86_u8(a, (uint8_t)imm);
    } else {
        x86_u32(a, (uint32_t)imm);
    }
}

static inline void x86_shift_imm(struct x86_asm *a, enum x86_shift op, bool w, int to,
                                 unsigned count)
{
    x86_rr(a, 0xc1, w, op, to);
    x86_u8(a, count);
}

/* Shift by cl. */
static inline void x86_shift_cl(struct x86_asm *a, enum x86_shift op, bool w, int to)
{
    x86_rr(a, 0xd3, w, op, to);
}

static inline void x86_lea(struct x86_asm *a, bool w, int to, struct x86_mem m)
{
    x86_rm(a, 0x8d, w, to, m);
}

static inline void x86_push(struct x86_asm *a, int reg)
{
    x86_reserve(a);
    x86_opcode(a, 0x50 | (reg & 7), false, false, 0, 0, reg);
}

static inline void x86_pop(struct x86_asm *a, int reg)
{
    x86_reserve(a);
    x86_opcode(a, 0x58 | (reg & 7), false, false, 0, 0, reg);
}

static inline void x86_setcc(struct x86_asm *a, enum x86_cond cc, int reg)
{
    x86_rr8(a, X86_OP(1, 0, 0x90u | cc), 0, reg);
}

static inline void x86_cmov(struct x86_asm *a, enum x86_cond cc, bool w, int to, int from)
{
    x86_rr(a, X86_OP(1, 0, 0x40u | cc), w, to, from);
}

/* Jumps with a 4-byte displacement to be filled in; return the displacement's offset. */
static inline uint32_t x86_jcc(struct x86_asm *a, enum x86_cond cc)
{
    x86_reserve(a);
    x86_u8(a, 0x0f);
    x86_u8(a, 0x80u | cc);
    x86_u32(a, 0);
    return a->size - 4;
}

static inline uint32_t x86_jmp(struct x86_asm *a)
{
    x86_reserve(a);
    x86_u8(a, 0xe9);
    x86_u32(a, 0);
    return a->size - 4;
}

static inline uint32_t x86_call(struct x86_asm *a)
{
    x86_reserve(a);
    x86_u8(a, 0xe8);
    x86_u32(a, 0);
    return a->size - 4;
}

/* Makes the displacement at offset `at` lead to offset `to` of the same buffer. */
static inline void x86_patch(struct x86_asm *a, uint32_t at, uint32_t to)
{
    uint32_t disp = to - (at + 4);
    memcpy(a->base + at, &disp, 4);
}

/* Pads at `from`, what stands behind it moves, so that a displacement `lead` bytes behind the end
 * lies within eight aligned bytes. */
static inline void x86_align_disp(struct x86_asm *a, unsigned lead, uint32_t from)
{
    static const uint8_t nops[4][3] = {{0}, {0x90}, {0x66, 0x90}, {0x0f, 0x1f, 0x00}};
    unsigned at = (a->size + lead) & 7, pad = at > 4 ? 8 - at : 0;

    x86_reserve(a);
    memmove(a->base + from + pad, a->base + from, a->size - from);
    memcpy(a->base + from, nops[pad], pad);
    a->size += pad;
}

#endif
