/*
 * Encoders for the few instructions that the harness itself is made of, and the immediates of jumps
 * whose target is known late. Registers are numbers 0..31; immediates must fit.
 */
#ifndef TINAMOU_TESTS_INSN_ASM_H
#define TINAMOU_TESTS_INSN_ASM_H

#include <stdint.h>

static inline uint32_t asm_i(uint32_t op, uint32_t f3, unsigned rd, unsigned rs1, int imm)
{
    return (uint32_t)imm << 20 | rs1 << 15 | f3 << 12 | rd << 7 | op;
}

/* The immediate of a store, to be OR-ed into an encoding without one. */
static inline uint32_t asm_imm_s(int imm)
{
    return ((uint32_t)imm >> 5 & 127) << 25 | ((uint32_t)imm & 31) << 7;
}

static inline uint32_t asm_s(uint32_t op, uint32_t f3, unsigned rs2, unsigned rs1, int imm)
{
    return rs2 << 20 | rs1 << 15 | f3 << 12 | op | asm_imm_s(imm);
}

static inline uint32_t asm_bits(int imm, unsigned from, unsigned count, unsigned to)
{
    return ((uint32_t)imm >> from & ((1u << count) - 1)) << to;
}

static inline uint32_t asm_imm_b(int imm)
{
    return asm_bits(imm, 12, 1, 31) | asm_bits(imm, 5, 6, 25) | asm_bits(imm, 1, 4, 8) |
           asm_bits(imm, 11, 1, 7);
}

static inline uint32_t asm_imm_j(int imm)
{
    return asm_bits(imm, 20, 1, 31) | asm_bits(imm, 1, 10, 21) | asm_bits(imm, 11, 1, 20) |
           asm_bits(imm, 12, 8, 12);
}

static inline uint32_t asm_imm_cj(int imm)
{
    return asm_bits(imm, 11, 1, 12) | asm_bits(imm, 4, 1, 11) | asm_bits(imm, 8, 2, 9) |
           asm_bits(imm, 10, 1, 8) | asm_bits(imm, 6, 1, 7) | asm_bits(imm, 7, 1, 6) |
           asm_bits(imm, 1, 3, 3) | asm_bits(imm, 5, 1, 2);
}

static inline uint32_t asm_imm_cb(int imm)
{
    return asm_bits(imm, 8, 1, 12) | asm_bits(imm, 3, 2, 10) | asm_bits(imm, 6, 2, 5) |
           asm_bits(imm, 1, 2, 3) | asm_bits(imm, 5, 1, 2);
}

#define ASM_IMM_B_MASK  0xfe000f80u
#define ASM_IMM_S_MASK  0xfe000f80u
#define ASM_IMM_J_MASK  0xfffff000u
#define ASM_IMM_CJ_MASK 0x1ffcu
#define ASM_IMM_CB_MASK 0x1c7cu

#define ASM_ADDI(rd, rs1, imm) asm_i(0x13, 0, rd, rs1, imm)
#define ASM_LD(rd, imm, rs1)   asm_i(0x03, 3, rd, rs1, imm)
#define ASM_LW(rd, imm, rs1)   asm_i(0x03, 2, rd, rs1, imm)
#define ASM_SD(rs2, imm, rs1)  asm_s(0x23, 3, rs2, rs1, imm)
#define ASM_SW(rs2, imm, rs1)  asm_s(0x23, 2, rs2, rs1, imm)
#define ASM_FLD(rd, imm, rs1)  asm_i(0x07, 3, rd, rs1, imm)
#define ASM_FSD(rs2, imm, rs1) asm_s(0x27, 3, rs2, rs1, imm)
#define ASM_JALR(rd, imm, rs1) asm_i(0x67, 0, rd, rs1, imm)
#define ASM_JAL(rd, imm)       (0x6fu | (uint32_t)(rd) << 7 | asm_imm_j(imm))
#define ASM_BEQ(rs1, rs2, imm) \
    (0x63u | (uint32_t)(rs1) << 15 | (uint32_t)(rs2) << 20 | asm_imm_b(imm))
#define ASM_BNE(rs1, rs2, imm) (ASM_BEQ(rs1, rs2, imm) | 1u << 12)
#define ASM_LUI(rd, value)     (0x37u | (uint32_t)(rd) << 7 | ((uint32_t)(value)&0xfffff000u))
#define ASM_ZEXT_W(rd, rs1)    (0x0800003bu | (uint32_t)(rs1) << 15 | (uint32_t)(rd) << 7)
#define ASM_AUIPC(rd, value)   (0x17u | (uint32_t)(rd) << 7 | ((uint32_t)(value)&0xfffff000u))
#define ASM_CSRR(rd, csr)      asm_i(0x73, 2, rd, 0, csr)
#define ASM_CSRW(csr, rs1)     asm_i(0x73, 1, 0, rs1, csr)
#define ASM_SC_W(rd, rs2, rs1) \
    (0x1800202fu | (uint32_t)(rs2) << 20 | (uint32_t)(rs1) << 15 | (uint32_t)(rd) << 7)
#define ASM_ECALL 0x73u

#endif
