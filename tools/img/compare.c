/* compare: do two images have the same contents? */
#include <inttypes.h>
#include <stdio.h>

#include "tools/img/pair.h"

enum { DIFFERENT = 1, NOT_OPEN = 2, NO_STATUS = 4, SECTOR = 512 };

struct values {
    struct img_source source;
    const char *second_format;
    bool strict, progress;
};

#define AT(field) offsetof(struct values, field)
static const struct img_option options[] = {
    {'f', "a-format", IMG_TEXT, AT(source.format), "FORMAT", 0},
    {'F', "b-format", IMG_TEXT, AT(second_format), "FORMAT", 0},
    {'s', "strict", IMG_FLAG, AT(strict), NULL, 0},
    {'T', "source-cache", IMG_TEXT, AT(source.cache), "CACHE", 0},
    {'p', "progress", IMG_FLAG, AT(progress), NULL, 0},
    {'q', "quiet", IMG_FLAG, AT(source.quiet), NULL, 0},
    {'U', "force-share", IMG_FLAG, AT(source.share), NULL, 0},
    {0, "image-opts", IMG_FLAG, AT(source.image_opts), NULL, 0},
    {0, "object", IMG_OBJECT, 0, "OBJECT", 0},
    {0},
};

enum { COMPARED = BLOCK_STATUS_DATA | BLOCK_STATUS_ZERO | BLOCK_STATUS_ALLOCATED };

static int walk(const struct values *v, struct img_pair *pair, struct img_progress *progress)
{
    uint64_t a = block_size(pair->node[0]), b = block_size(pair->node[1]);
    uint64_t both = a < b ? a : b, total = img_pair_size(pair);
    struct img_pair_range range;

    for (uint64_t at = 0; at < total; at += range.size) {
        /* no range goes over the end of one of them */
        if (at == both && !v->source.quiet) {
            printf("Warning: Image size mismatch!\n");
        }
        if (img_pair_next(pair, at, SECTOR, &range)) {
            return NO_STATUS;
        }
        if (v->strict && at < both && ((range.flags[0] ^ range.flags[1]) & COMPARED)) {
            if (!v->source.quiet) {
                printf("Strict mode: Offset %" PRIu64 " block status mismatch!\n", at);
            }
            return DIFFERENT;
        }
        if (!range.same) {
            if (!v->source.quiet) {
                printf("Content mismatch at offset %" PRIu64 "!\n", at);
            }
            return DIFFERENT;
        }
        img_progress_at(progress, at + range.size);
    }
    return 0;
}

static int compare(const struct values *v, struct img_pair *pair)
{
    struct img_progress progress;
    int status;

    if (v->strict && block_size(pair->node[0]) != block_size(pair->node[1])) {
        if (!v->source.quiet) {
            printf("Strict mode: Image size mismatch!\n");
        }
        return DIFFERENT;
    }
    img_progress_begin(&progress, v->progress, v->source.quiet, img_pair_size(pair));
    status = walk(v, pair, &progress);
    if (!status && !v->source.quiet) {
        printf("Images are identical.\n");
    }
    img_progress_end(&progress, !status);
    return status;
}

static int run(void *opaque, int count, char **operands)
{
    const struct values *v = opaque;
    struct img_source second = v->source;
    struct img_pair pair = {.name = {operands[0], operands[1]}};
    int status = NOT_OPEN;

    second.format = v->second_format;
    if (img_pair_init(&pair)) {
        img_fail("out of memory");
    } else if (!img_open(&pair.node[0], operands[0], &v->source, 0) &&
               !img_open(&pair.node[1], operands[1], &second, 0)) {
        status = compare(v, &pair);
    }
    img_pair_clear(&pair);
    return status;
}

const struct img_command img_compare = {
    .name = "compare",
    .operands = "FILE FILE",
    .summary = "are the contents of two images the same?",
    .options = options,
    .values_size = sizeof(struct values),
    .min_operands = 2,
    .max_operands = 2,
    .run = run,
};
