/*
 * IEEE 754-2008 arithmetic in integers, with the semantics of the RISC-V F, D, Zfh, Zfbfmin and
 * Zfa extensions (RISC-V unprivileged manual).
 *
 * The translator runs floating point on the host's unit where the result is provably the guest's;
 * this library is for the rest (round to nearest with ties to maximum magnitude, half precision on
 * hosts without it, the odd conversions) and the oracle for that proof.
 *
 * Values are raw bit patterns: uint16_t for f16 and bf16, uint32_t for f32, uint64_t for f64. NaN
 * boxing is the caller's business. Every NaN result is the canonical NaN (positive, quiet, payload
 * zero). Underflow is detected after rounding (F chapter, "Floating-Point Control and Status
 * Register").
 *
 * Conventions shared by all functions:
 *  - names are rvfp_OPERATION_TYPE, TYPE one of f16, f32, f64, so that macros can paste the type;
 *  - `rm` is a rounding mode already resolved (dynamic replaced by frm, reserved values trapped);
 *    a value outside the enumeration rounds as RTZ;
 *  - exceptions are OR-ed into `*flags` (RVFP_NV ...); nothing is ever cleared. `flags` must not be
 *    NULL;
 *  - pure apart from `*flags`: no global state, no host floating point, any thread.
 */
#ifndef TINAMOU_TARGET_RISCV_SOFTFP_H
#define TINAMOU_TARGET_RISCV_SOFTFP_H

#include <stdbool.h>
#include <stdint.h>

/* Rounding modes, encoded as in the rm field and frm. */
enum rv_rm {
    RV_RM_RNE = 0, /* to nearest, ties to even */
    RV_RM_RTZ = 1, /* towards zero */
    RV_RM_RDN = 2, /* towards minus infinity */
    RV_RM_RUP = 3, /* towards plus infinity */
    RV_RM_RMM = 4, /* to nearest, ties to maximum magnitude */
};

/* Accrued exception flags, at their places in fflags. */
enum {
    RVFP_NX = 0x01, /* inexact */
    RVFP_UF = 0x02, /* underflow */
    RVFP_OF = 0x04, /* overflow */
    RVFP_DZ = 0x08, /* division by zero */
    RVFP_NV = 0x10, /* invalid operation */
};

#define RVFP_NAN_F16  UINT16_C(0x7e00)
#define RVFP_NAN_BF16 UINT16_C(0x7fc0)
#define RVFP_NAN_F32  UINT32_C(0x7fc00000)
#define RVFP_NAN_F64  UINT64_C(0x7ff8000000000000)

/*
 * Declares the operations of one format; T is the type suffix, U the unsigned type of its bits.
 *
 * Arithmetic (F chapter, "Single-Precision Floating-Point Computational Instructions"):
 *   add, sub, mul, div, sqrt: as IEEE 754.
 *   muladd: a * b + c rounded once. fmsub, fnmsub and fnmadd come from flipping the sign bits of
 *   a and c. Infinity times zero is invalid even when c is a quiet NaN.
 *
 * Minimum and maximum: -0 is less than +0; a signalling NaN sets NV.
 *   min, max: of a number and a NaN the number (minimumNumber of IEEE 754-2019).
 *   minm, maxm: a NaN operand gives the canonical NaN (Zfa).
 *
 * Comparisons give 0 or 1, 0 with a NaN operand.
 *   eq, ltq, leq: quiet, NV for signalling NaNs only. lt, le: NV for every NaN.
 *
 * class: the ten-bit mask of FCLASS (bit 0 -inf, 1 negative normal, 2 negative subnormal, 3 -0,
 *   4 +0, 5 positive subnormal, 6 positive normal, 7 +inf, 8 signalling NaN, 9 quiet NaN).
 *
 * Conversions to integers round by rm, then saturate; NaN converts as +infinity does. A saturated
 * result sets NV and not NX (F chapter, "Domains of float-to-integer conversions"). to_i32 and
 * to_u32 both return the 32-bit result sign-extended, as it is written to rd.
 *   Conversions from integers take the low 32 or all 64 bits of rs1.
 *
 * round: to an integral value in the same format (FROUND; inexact is not flagged). roundnx: the
 *   same, with NX when the value changed (FROUNDNX). The result has the sign of the operand.
 */
#define RVFP_DECLARE(T, U)                                            \
    U rvfp_add_##T(U a, U b, enum rv_rm rm, uint8_t *flags);          \
    U rvfp_sub_##T(U a, U b, enum rv_rm rm, uint8_t *flags);          \
    U rvfp_mul_##T(U a, U b, enum rv_rm rm, uint8_t *flags);          \
    U rvfp_div_##T(U a, U b, enum rv_rm rm, uint8_t *flags);          \
    U rvfp_sqrt_##T(U a, enum rv_rm rm, uint8_t *flags);              \
    U rvfp_muladd_##T(U a, U b, U c, enum rv_rm rm, uint8_t *flags);  \
    U rvfp_min_##T(U a, U b, uint8_t *flags);                         \
    U rvfp_max_##T(U a, U b, uint8_t *flags);                         \
    U rvfp_minm_##T(U a, U b, uint8_t *flags);                        \
    U rvfp_maxm_##T(U a, U b, uint8_t *flags);                        \
    uint64_t rvfp_eq_##T(U a, U b, uint8_t *flags);                   \
    uint64_t rvfp_lt_##T(U a, U b, uint8_t *flags);                   \
    uint64_t rvfp_le_##T(U a, U b, uint8_t *flags);                   \
    uint64_t rvfp_ltq_##T(U a, U b, uint8_t *flags);                  \
    uint64_t rvfp_leq_##T(U a, U b, uint8_t *flags);                  \
    uint64_t rvfp_class_##T(U a);                                     \
    uint64_t rvfp_to_i32_##T(U a, enum rv_rm rm, uint8_t *flags);     \
    uint64_t rvfp_to_u32_##T(U a, enum rv_rm rm, uint8_t *flags);     \
    uint64_t rvfp_to_i64_##T(U a, enum rv_rm rm, uint8_t *flags);     \
    uint64_t rvfp_to_u64_##T(U a, enum rv_rm rm, uint8_t *flags);     \
    U rvfp_from_i32_##T(uint64_t rs1, enum rv_rm rm, uint8_t *flags); \
    U rvfp_from_u32_##T(uint64_t rs1, enum rv_rm rm, uint8_t *flags); \
    U rvfp_from_i64_##T(uint64_t rs1, enum rv_rm rm, uint8_t *flags); \
    U rvfp_from_u64_##T(uint64_t rs1, enum rv_rm rm, uint8_t *flags); \
    U rvfp_round_##T(U a, enum rv_rm rm, uint8_t *flags);             \
    U rvfp_roundnx_##T(U a, enum rv_rm rm, uint8_t *flags);

RVFP_DECLARE(f16, uint16_t)
RVFP_DECLARE(f32, uint32_t)
RVFP_DECLARE(f64, uint64_t)

#undef RVFP_DECLARE

/*
 * FCVTMOD.W.D (Zfa): rounds towards zero, then reduces modulo 2^32; sign-extended. Infinity and
 * NaN give 0. Flags are those of FCVT.W.D with RTZ.
 */
uint64_t rvfp_tomod_i32_f64(uint64_t a, uint8_t *flags);

/*
 * Conversions between formats, rvfp_cvt_TO_FROM as in fcvt.TO.FROM. Widening is exact (bf16 and
 * f16 do not contain each other); rm is then ignored but kept so that all have one signature.
 * A signalling NaN sets NV.
 */
uint16_t rvfp_cvt_f16_bf16(uint16_t a, enum rv_rm rm, uint8_t *flags);
uint16_t rvfp_cvt_f16_f32(uint32_t a, enum rv_rm rm, uint8_t *flags);
uint16_t rvfp_cvt_f16_f64(uint64_t a, enum rv_rm rm, uint8_t *flags);
uint16_t rvfp_cvt_bf16_f16(uint16_t a, enum rv_rm rm, uint8_t *flags);
uint16_t rvfp_cvt_bf16_f32(uint32_t a, enum rv_rm rm, uint8_t *flags);
uint16_t rvfp_cvt_bf16_f64(uint64_t a, enum rv_rm rm, uint8_t *flags);
uint32_t rvfp_cvt_f32_f16(uint16_t a, enum rv_rm rm, uint8_t *flags);
uint32_t rvfp_cvt_f32_bf16(uint16_t a, enum rv_rm rm, uint8_t *flags);
uint32_t rvfp_cvt_f32_f64(uint64_t a, enum rv_rm rm, uint8_t *flags);
uint64_t rvfp_cvt_f64_f16(uint16_t a, enum rv_rm rm, uint8_t *flags);
uint64_t rvfp_cvt_f64_bf16(uint16_t a, enum rv_rm rm, uint8_t *flags);
uint64_t rvfp_cvt_f64_f32(uint32_t a, enum rv_rm rm, uint8_t *flags);

/* The constants of FLI.H, FLI.S and FLI.D (Zfa), indexed by the rs1 field. */
extern const uint16_t rvfp_fli_f16[32];
extern const uint32_t rvfp_fli_f32[32];
extern const uint64_t rvfp_fli_f64[32];

#endif
