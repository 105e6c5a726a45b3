/*
 * What fuzz targets share: libFuzzer's entry points, and taking values off an input. A value that
 * the input is too short for is 0.
 */
#ifndef TINAMOU_TESTS_FUZZ_FUZZ_H
#define TINAMOU_TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Called once, before the inputs; optional. */
int LLVMFuzzerInitialize(int *argc, char ***argv);
/* Called for each input; returns 0. What it allocates it frees. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct fuzz_input {
    const uint8_t *data;
    size_t left;
};

/* Copies n bytes off the input, zeros behind its end; returns how many were there. */
static inline size_t fuzz_bytes(struct fuzz_input *in, void *to, size_t n)
{
    size_t got = n < in->left ? n : in->left;

    memset(to, 0, n);
    if (got) {
        memcpy(to, in->data, got);
    }
    in->data += got;
    in->left -= got;
    return got;
}

/* A little-endian number of 1 to 8 bytes. */
static inline uint64_t fuzz_number(struct fuzz_input *in, unsigned bytes)
{
    uint8_t b[8] = {0};
    uint64_t value = 0;

    fuzz_bytes(in, b, bytes);
    for (unsigned i = 0; i < bytes; i++) {
        value |= (uint64_t)b[i] << 8 * i;
    }
    return value;
}

#endif
