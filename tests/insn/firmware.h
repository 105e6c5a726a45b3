/*
 * What tests/insn/system hands to the firmware, at FIRMWARE_PARAMETERS: it packs the same by hand.
 *
 * Programs lie in RAM at their address plus `offset`, and with paging every two neighbouring pages
 * change places: an access that crosses pages goes to two that are not neighbours in that order.
 */
#ifndef TINAMOU_TESTS_INSN_FIRMWARE_H
#define TINAMOU_TESTS_INSN_FIRMWARE_H

#include <stdint.h>

#define FIRMWARE_PARAMETERS 0x800f0000u
#define FIRMWARE_EXPECTED   0x98000000u /* the records of user mode, in the order of the runs */

enum { FIRMWARE_SEGMENTS = 3 };

struct firmware_parameters {
    uint64_t privilege; /* 0 U, 1 S, 3 M; without paging if M */
    uint64_t entry;
    uint64_t state;  /* GUEST_STATE of this program */
    uint64_t offset; /* of physical from virtual addresses */
    uint64_t runs;
    struct {
        uint64_t address, size, flags; /* flags as in a PTE: R 2, W 4, X 8 */
    } segments[FIRMWARE_SEGMENTS];
};

#endif
