/*
 * Evaluation of integer ops on constants, by the words of ops.def: wrapping, shift counts modulo
 * the width, total division. i32 values are kept sign-extended.
 */
#include "jit/opt/fold.h"
#include "util/bits.h"

static bool eval64(enum ir_opcode op, uint64_t a, uint64_t c, uint64_t *r)
{
    int64_t sa = (int64_t)a, sc = (int64_t)c;
    unsigned n = c & 63;

    switch (op) {
    case IR_mulhs:
        *r = (uint64_t)((__int128)sa * sc >> 64);
        return true;
    case IR_mulhu:
        *r = (uint64_t)((unsigned __int128)a * c >> 64);
        return true;
    case IR_mulhsu:
        *r = (uint64_t)((unsigned __int128)a * c >> 64) - (sa < 0 ? c : 0);
        return true;
    case IR_divs:
        *r = sc == 0 ? UINT64_MAX : sc == -1 ? -a : (uint64_t)(sa / sc);
        return true;
    case IR_divu:
        *r = c == 0 ? UINT64_MAX : a / c;
        return true;
    case IR_rems:
        *r = sc == 0 ? a : sc == -1 ? 0 : (uint64_t)(sa % sc);
        return true;
    case IR_remu:
        *r = c == 0 ? a : a % c;
        return true;
    case IR_shl:
        *r = a << n;
        return true;
    case IR_shr:
        *r = a >> n;
        return true;
    case IR_sar:
        *r = (uint64_t)(sa >> n);
        return true;
    case IR_rotl:
        *r = bits_rol64(a, n);
        return true;
    case IR_rotr:
        *r = bits_ror64(a, n);
        return true;
    case IR_clz:
        *r = a ? (uint64_t)__builtin_clzll(a) : 64;
        return true;
    case IR_ctz:
        *r = a ? (uint64_t)__builtin_ctzll(a) : 64;
        return true;
    case IR_popcnt:
        *r = (uint64_t)__builtin_popcountll(a);
        return true;
    case IR_bswap:
        *r = __builtin_bswap64(a);
        return true;
    default:
        return false;
    }
}

static bool eval32(enum ir_opcode op, uint32_t a, uint32_t c, uint32_t *r)
{
    int32_t sa = (int32_t)a, sc = (int32_t)c;
    unsigned n = c & 31;

    switch (op) {
    case IR_mulhs:
        *r = (uint32_t)((int64_t)sa * sc >> 32);
        return true;
    case IR_mulhu:
        *r = (uint32_t)((uint64_t)a * c >> 32);
        return true;
    case IR_mulhsu:
        *r = (uint32_t)((int64_t)sa * (int64_t)c >> 32);
        return true;
    case IR_divs:
        *r = sc == 0 ? UINT32_MAX : sc == -1 ? -a : (uint32_t)(sa / sc);
        return true;
    case IR_divu:
        *r = c == 0 ? UINT32_MAX : a / c;
        return true;
    case IR_rems:
        *r = sc == 0 ? a : sc == -1 ? 0 : (uint32_t)(sa % sc);
        return true;
    case IR_remu:
        *r = c == 0 ? a : a % c;
        return true;
    case IR_shl:
        *r = a << n;
        return true;
    case IR_shr:
        *r = a >> n;
        return true;
    case IR_sar:
        *r = (uint32_t)(sa >> n);
        return true;
    case IR_rotl:
        *r = bits_rol32(a, n);
        return true;
    case IR_rotr:
        *r = bits_ror32(a, n);
        return true;
    case IR_clz:
        *r = a ? (uint32_t)__builtin_clz(a) : 32;
        return true;
    case IR_ctz:
        *r = a ? (uint32_t)__builtin_ctz(a) : 32;
        return true;
    case IR_popcnt:
        *r = (uint32_t)__builtin_popcount(a);
        return true;
    case IR_bswap:
        *r = __builtin_bswap32(a);
        return true;
    default:
        return false;
    }
}

/* Ops whose lower half depends on the lower halves alone: the same for both types. */
static bool eval_any(enum ir_opcode op, uint64_t a, uint64_t c, uint64_t *r)
{
    switch (op) {
    case IR_add:
        *r = a + c;
        return true;
    case IR_sub:
        *r = a - c;
        return true;
    case IR_mul:
        *r = a * c;
        return true;
    case IR_and:
        *r = a & c;
        return true;
    case IR_or:
        *r = a | c;
        return true;
    case IR_xor:
        *r = a ^ c;
        return true;
    case IR_andn:
        *r = a & ~c;
        return true;
    case IR_sext8:
        *r = (uint64_t)bits_sext(a, 8);
        return true;
    case IR_sext16:
        *r = (uint64_t)bits_sext(a, 16);
        return true;
    case IR_zext8:
        *r = (uint8_t)a;
        return true;
    case IR_zext16:
        *r = (uint16_t)a;
        return true;
    case IR_trunc:
    case IR_sext:
        *r = (uint64_t)bits_sext(a, 32);
        return true;
    case IR_zext:
        *r = (uint32_t)a;
        return true;
    default:
        return false;
    }
}

bool jit_opt_fold_eval(enum ir_opcode op, enum ir_type type, enum ir_type arg_type, unsigned cc,
                       int64_t a, int64_t c, int64_t *result)
{
    uint64_t r64;
    uint32_t r32;

    if (op == IR_icmp) {
        *result = ir_cc_holds((enum ir_cc)cc, arg_type == IR_I32, a, c);
        return true;
    }
    if (eval_any(op, (uint64_t)a, (uint64_t)c, &r64)) {
        *result = type == IR_I32 ? (int32_t)r64 : (int64_t)r64;
        return true;
    }
    if (type == IR_I32) {
        if (!eval32(op, (uint32_t)a, (uint32_t)c, &r32)) {
            return false;
        }
        *result = (int32_t)r32;
        return true;
    }
    if (!eval64(op, (uint64_t)a, (uint64_t)c, &r64)) {
        return false;
    }
    *result = (int64_t)r64;
    return true;
}
