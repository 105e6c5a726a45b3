/*
 * Random blocks: straight pieces of code drawn from the decode table, with forward branches, a
 * loop, a call, and sometimes something that traps.
 *
 * A block is made from its own seed, so any block of a program can be made again alone. It is a
 * list of items (an instruction, or the few that only make sense together), each of which may be
 * left out without changing the others: that is how a failing block is minimised.
 */
#ifndef TINAMOU_TESTS_INSN_BLOCK_H
#define TINAMOU_TESTS_INSN_BLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "target/riscv/random.h"
#include "tests/insn/guest.h"

#define BLOCK_MAX_ITEMS 80

enum block_patch {
    BLOCK_PLAIN,
    BLOCK_BRANCH,  /* the one instruction has the immediate of its format: b, j, cb, cj */
    BLOCK_COMPUTED /* auipc; [addi;] jump through the register */
};

struct block_item {
    uint32_t bits[3];
    uint8_t count;  /* of instructions; 0: left out */
    uint8_t patch;  /* enum block_patch */
    uint8_t target; /* item number; the number of the function's first item: the block's end */
    bool call;      /* of the function: target is its first item */
};

struct block {
    unsigned keeper;
    uint32_t bases;     /* registers with addresses in or near the scratch area */
    int16_t offset[32]; /* theirs, from GUEST_STATE */
    unsigned counter;   /* of the loop; 0: none */
    unsigned function;  /* the item where the called function starts; item_count: none */
    bool split;         /* a jump between the set-up and the first item */
    unsigned item_count;
    struct block_item items[BLOCK_MAX_ITEMS];
};

struct block_options {
    struct rv_ext_set ext;
    bool (*admits)(const struct rv_insn *insn); /* whether it may occur */
    bool system;  /* no reservation is held at an ecall: traps of the system end it */
    bool machine; /* it may run in machine mode: no CSR of that mode */
};

void block_make(struct block *block, uint64_t seed, const struct block_options *options);

/* One instruction that decodes to nothing, or may, in a block of its own. */
void block_make_encoding(struct block *block, uint32_t bits);

/* Appends it to the program; returns its entry. at[], if not NULL, gets item addresses. */
uint64_t block_emit(const struct block *block, struct guest *guest, uint64_t *at);

/* Images with corner values. Those for encodings have no valid addresses in x registers. */
void block_make_image(struct guest_image *image, struct rv_random *random);
void block_make_flat_image(struct guest_image *image);

#endif
