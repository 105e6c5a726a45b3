/* Opening the images that commands name. */
#include <stdio.h>
#include <string.h>

#include "tools/img/img.h"

int img_open_with(struct block_node **node, const char *filename, const struct img_source *source,
                  const char *options, unsigned flags)
{
    char text[8192], error[1024];
    int err;

    /* with --image-opts the name is a list of options itself */
    snprintf(text, sizeof(text), "%s%s%s%s%s%s%s", source->image_opts ? filename : "",
             source->image_opts ? "," : "", source->cache ? "cache=" : "",
             source->cache ? source->cache : "", source->cache ? "," : "",
             source->share ? "force-share=on," : "", options ? options : "");
    if (text[0] && text[strlen(text) - 1] == ',') {
        text[strlen(text) - 1] = '\0';
    }
    if (flags & IMG_NO_BACKING) {
        /* null: no backing file, whatever the image says */
        strncat(text, text[0] ? ",backing=" : "backing=", sizeof(text) - strlen(text) - 1);
    }
    err = block_open_file(node, source->image_opts ? NULL : filename, source->format,
                          text[0] ? text : NULL, !(flags & IMG_WRITE), error, sizeof(error));
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
