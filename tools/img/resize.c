/* resize: another virtual size. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tools/img/img.h"

struct values {
    struct img_source source;
    const char *preallocation;
    bool shrink;
};

#define AT(field) offsetof(struct values, field)
static const struct img_option options[] = {
    {'f', "format", IMG_TEXT, AT(source.format), "FORMAT", 0},
    {0, "preallocation", IMG_TEXT, AT(preallocation), "MODE", 0},
    {0, "shrink", IMG_FLAG, AT(shrink), NULL, 0},
    {'q', "quiet", IMG_FLAG, AT(source.quiet), NULL, 0},
    {0, "image-opts", IMG_FLAG, AT(source.image_opts), NULL, 0},
    {0, "object", IMG_OBJECT, 0, "OBJECT", 0},
    {0},
};

/* "10G", "+1G", "-1G": the new size. */
static int new_size(const char *text, uint64_t old, uint64_t *size)
{
    char sign = text[0] == '+' || text[0] == '-' ? text[0] : '\0';

    if (img_parse_size(text + (sign != '\0'), size)) {
        return img_fail("Invalid image size '%s'", text);
    }
    if (sign == '+' && *size > INT64_MAX - old) {
        return img_fail("New image size must be below 8 EiB");
    }
    if (sign == '-' && *size > old) {
        return img_fail("New image size must be positive");
    }
    *size = sign == '+' ? old + *size : sign == '-' ? old - *size : *size;
    if (!*size) {
        return img_fail("New image size must be positive");
    }
    if (*size > INT64_MAX - 511) {
        return img_fail("New image size must be below 8 EiB");
    }
    *size = (*size + 511) / 512 * 512; /* whole sectors */
    return 0;
}

static int resize(const struct values *v, struct block_node *node, const char *text, int mode)
{
    uint64_t old = block_size(node), size;
    char error[512];

    if (new_size(text, old, &size)) {
        return 1;
    }
    if (size < old && mode != BLOCK_PREALLOC_OFF) {
        return img_fail("Preallocation can only be used for growing images");
    }
    if (size < old && !v->shrink) {
        return img_fail("Use the --shrink option to perform a shrink operation: data behind the "
                        "new end gets lost");
    }
    if (block_truncate(node, size, true, (enum block_preallocation)mode, error, sizeof(error))) {
        return img_fail("%s", error);
    }
    if (block_flush(node)) {
        return img_fail("%s: writing the new size failed", node->filename);
    }
    if (!v->source.quiet) {
        printf("Image resized.\n");
    }
    return 0;
}

static int run(void *opaque, int count, char **operands)
{
    const struct values *v = opaque;
    struct block_node *node;
    int mode = BLOCK_PREALLOC_OFF, status;

    if (v->preallocation) {
        for (mode = 0; block_preallocation_names[mode]; mode++) {
            if (strcmp(block_preallocation_names[mode], v->preallocation) == 0) {
                break;
            }
        }
        if (!block_preallocation_names[mode]) {
            return img_fail("Invalid preallocation mode '%s'", v->preallocation);
        }
    }
    if (img_open(&node, operands[0], &v->source, IMG_WRITE)) {
        return 1;
    }
    status = resize(v, node, operands[1], mode);
    block_unref(node);
    return status;
}

const struct img_command img_resize = {
    .name = "resize",
    .operands = "FILE [+|-]SIZE",
    .summary = "gives an image another virtual size",
    .options = options,
    .values_size = sizeof(struct values),
    .min_operands = 2,
    .max_operands = 2,
    .run = run,
};
