/*
 * The guest program around the blocks: its address map, its records, its ELF file.
 *
 * A program is a list of runs. Each run loads all registers, fcsr and a scratch area from an image,
 * enters a block, and afterwards writes one record to standard output: the registers, fcsr and
 * scratch area as the block, or the signal it raised, left them. Nothing is summed up or hashed: a
 * difference shows where it is.
 *
 * While a block runs, one register, the keeper K (each block its own), holds GUEST_STATE; all
 * others are the block's. Record and scratch area are addressed from K. The scratch area straddles
 * a page boundary, and GUEST_STATE is that boundary.
 */
#ifndef TINAMOU_TESTS_INSN_GUEST_H
#define TINAMOU_TESTS_INSN_GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GUEST_TEXT  0x00100000u
#define GUEST_DATA  0x08000000u /* images and run list: read only */
#define GUEST_STATE 0x10001000u /* a multiple of 4096 */
#define GUEST_HIGH  0x80000000u /* added to all of them, if asked for: RAM of the virt machine */

#define GUEST_SCRATCH 256 /* bytes, half of them below GUEST_STATE */

/* A record, from GUEST_STATE + GUEST_RECORD. tests/insn/run knows this layout too. */
enum {
    GUEST_RECORD_SIZE = 800,
    GUEST_RECORD = -672,
    GUEST_X = GUEST_RECORD, /* the slot of x0 has the pc where a signal came */
    GUEST_F = GUEST_RECORD + 256,
    GUEST_FCSR = GUEST_RECORD + 512,
    GUEST_SIGNAL = GUEST_RECORD + 520, /* number, and si_code in the upper half; 0: none */
    GUEST_SIGADDR = GUEST_RECORD + 528,
    GUEST_RUN = GUEST_RECORD + 536, /* counts from 1 */
    GUEST_SCRATCH_START = -GUEST_SCRATCH / 2,
};

/* What a run starts with. */
struct guest_image {
    uint64_t x[32], f[32], fcsr, unused;
    uint64_t scratch[GUEST_SCRATCH / 8];
};

struct guest_run {
    uint64_t entry; /* of its block */
    unsigned keeper;
    unsigned image;
};

struct guest; /* one program being made */

/* Makes the program with its routines. NULL if memory is short. */
struct guest *guest_new(bool high);
void guest_free(struct guest *guest);

/* The address of the next halfword of code, and appending one instruction of 2 or 4 bytes. Memory
 * that is short ends the process: this is a test program. */
uint64_t guest_here(const struct guest *guest);
void guest_emit(struct guest *guest, uint32_t bits);

/* Sets a register to GUEST_STATE, or where that is. */
void guest_emit_state(struct guest *guest, unsigned reg);

/* The end of a block: goes to where the record is written. */
void guest_emit_end(struct guest *guest, unsigned keeper);

void guest_add_run(struct guest *guest, struct guest_run run);

/* Writes the ELF file. Returns 0 or -errno. */
int guest_write(const struct guest *guest, const char *path, const struct guest_image *images,
                unsigned image_count);

#endif
