/* Opening the images that commands name. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/img/img.h"

static unsigned open_flags(unsigned flags)
{
    return (flags & IMG_WRITE ? 0 : BLOCK_OPEN_READONLY) |
           (flags & IMG_NO_BACKING ? BLOCK_OPEN_NO_BACKING : 0) |
           (flags & IMG_NO_IO ? BLOCK_OPEN_NO_IO : 0) |
           (flags & IMG_REPAIR ? BLOCK_OPEN_REPAIR : 0);
}

int img_open_with(struct block_node **node, const char *filename, const struct img_source *source,
                  const char *options, unsigned flags)
{
    char *text = NULL, error[1024];
    int err;

    if (source->image_opts && source->format) {
        img_fail("--image-opts and --format are mutually exclusive");
        return -EINVAL;
    }
    /* with --image-opts the name is a list of options itself; what is freed is given back */
    if (asprintf(&text, "%s%s%s%s%s%s%s", flags & IMG_WRITE ? "discard=on" : "discard=off",
                 source->cache ? ",cache=" : "", source->cache ? source->cache : "",
                 source->share ? ",force-share=on" : "", options ? "," : "", options ? options : "",
                 source->image_opts ? "," : "") < 0) {
        img_fail("out of memory");
        return -ENOMEM;
    }
    if (source->image_opts) {
        char *joined = NULL;

        err = asprintf(&joined, "%s%s", text, filename);
        free(text);
        if (err < 0) {
            img_fail("out of memory");
            return -ENOMEM;
        }
        text = joined;
    }
    err = block_open_image(node, source->image_opts ? NULL : filename, source->format, text,
                           open_flags(flags), error, sizeof(error));
    free(text);
    if (err) {
        img_fail("Could not open '%s': %s", filename, error);
    }
    return err;
}

int img_open(struct block_node **node, const char *filename, const struct img_source *source,
             unsigned flags)
{
    return img_open_with(node, filename, source, NULL, flags);
}

char *img_resolve(const char *image, const char *name)
{
    const char *slash = strrchr(image, '/');
    size_t n = strcspn(name, ":/");
    char *full = NULL;

    if (name[0] == '/' || name[n] == ':' || !slash || image[strcspn(image, ":/")] == ':') {
        return strdup(name);
    }
    return asprintf(&full, "%.*s%s", (int)(slash - image + 1), image, name) < 0 ? NULL : full;
}
