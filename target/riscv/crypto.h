/*
 * Scalar cryptography and the bit manipulation that goes with it, RV64: Zknd, Zkne, Zknh, Zbc,
 * Zbkc, Zbkx, the part of Zbkb that has no cheap host sequence, and orc.b of Zbb (RISC-V
 * unprivileged manual, chapters "Cryptography Extensions: Scalar" and "B").
 *
 * Every function is an instruction: it takes the values of rs1 and rs2 and returns the value of
 * rd. All have one type, so that a table can hold them; an instruction without rs2 ignores the
 * second argument, and aes64ks1i takes its round number there. Pure functions, any thread, no host
 * instruction beyond the baseline, and no promise of constant time.
 */
#ifndef TINAMOU_TARGET_RISCV_CRYPTO_H
#define TINAMOU_TARGET_RISCV_CRYPTO_H

#include <stdint.h>

/*
 * AES (Zkne, Zknd). A state is 16 bytes, column after column; rs1 holds columns 0 and 1, rs2
 * columns 2 and 3, and the result is columns 0 and 1 of the round's outcome. With the operands
 * exchanged it is columns 2 and 3.
 *   es, ds: ShiftRows and SubBytes, or their inverses. esm, dsm: followed by MixColumns or its
 *   inverse. im: inverse MixColumns on both columns of rs1.
 *   ks1i: key schedule, SubWord and round constant; the round number is 0 to 10, and a caller
 *   traps on 11 to 15 before it gets here (such a number acts as 10 here).
 *   ks2: key schedule, the chain of exclusive ors.
 */
uint64_t rv_crypto_aes64es(uint64_t rs1, uint64_t rs2);
uint64_t rv_crypto_aes64esm(uint64_t rs1, uint64_t rs2);
uint64_t rv_crypto_aes64ds(uint64_t rs1, uint64_t rs2);
uint64_t rv_crypto_aes64dsm(uint64_t rs1, uint64_t rs2);
uint64_t rv_crypto_aes64im(uint64_t rs1, uint64_t unused);
uint64_t rv_crypto_aes64ks1i(uint64_t rs1, uint64_t round);
uint64_t rv_crypto_aes64ks2(uint64_t rs1, uint64_t rs2);

/* SHA-2 (Zknh). The SHA-256 functions work on the low word and sign-extend their result. */
uint64_t rv_crypto_sha256sig0(uint64_t rs1, uint64_t unused);
uint64_t rv_crypto_sha256sig1(uint64_t rs1, uint64_t unused);
uint64_t rv_crypto_sha256sum0(uint64_t rs1, uint64_t unused);
uint64_t rv_crypto_sha256sum1(uint64_t rs1, uint64_t unused);
uint64_t rv_crypto_sha512sig0(uint64_t rs1, uint64_t unused);
uint64_t rv_crypto_sha512sig1(uint64_t rs1, uint64_t unused);
uint64_t rv_crypto_sha512sum0(uint64_t rs1, uint64_t unused);
uint64_t rv_crypto_sha512sum1(uint64_t rs1, uint64_t unused);

/* Zbkb. pack, packh, packw join the low halves, bytes, half-words; packw sign-extends. */
uint64_t rv_crypto_brev8(uint64_t rs1, uint64_t unused);
uint64_t rv_crypto_pack(uint64_t rs1, uint64_t rs2);
uint64_t rv_crypto_packh(uint64_t rs1, uint64_t rs2);
uint64_t rv_crypto_packw(uint64_t rs1, uint64_t rs2);

/* Zbkx: each nibble or byte of rs2 indexes into rs1; an index out of range gives 0. */
uint64_t rv_crypto_xperm4(uint64_t rs1, uint64_t rs2);
uint64_t rv_crypto_xperm8(uint64_t rs1, uint64_t rs2);

/* Zbc: bits 63:0, 127:64 and 126:63 of the carry-less product. */
uint64_t rv_crypto_clmul(uint64_t rs1, uint64_t rs2);
uint64_t rv_crypto_clmulh(uint64_t rs1, uint64_t rs2);
uint64_t rv_crypto_clmulr(uint64_t rs1, uint64_t rs2);

/* Zbb: each byte that is not zero becomes 0xff. */
uint64_t rv_crypto_orc_b(uint64_t rs1, uint64_t unused);

#endif
