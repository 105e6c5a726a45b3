/* Options of block graphs as text and as JSON, and the graphs that they make of null disks. */
#include "io/block/block.h"
#include "io/block/options.h"

#include "tests/fuzz/fuzz.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct block_options options = {0}, child = {0};
    char *text = malloc(size + 1);
    struct block_node *node;
    char error[300] = "";
    int err;

    if (!text) {
        return 0;
    }
    if (size) {
        memcpy(text, data, size);
    }
    text[size] = 0;
    err = text[0] == '{' ? block_options_from_json_text(&options, text, error, sizeof(error))
                         : block_options_from_text(&options, text, error, sizeof(error));
    assert(!err || *error);
    block_options_split(&options, "file.", &child);
    assert(!block_options_has_prefix(&options, "file."));
    block_options_clear(&options);
    block_options_clear(&child);

    /* Nothing of the host's is opened. */
    if (!strstr(text, "filename") && !strchr(text, '/') && !strstr(text, "snapshot")) {
        *error = 0;
        if (text[0] == '{') {
            char *name = NULL;

            if (asprintf(&name, "json:%s", text) < 0) {
                abort();
            }
            err = block_open_file(&node, name, NULL, NULL, false, error, sizeof(error));
            free(name);
        } else {
            err = block_open_file(&node, NULL, "null-co", text, false, error, sizeof(error));
        }
        assert(!err || *error);
        if (!err) {
            block_unref(node);
        }
    }
    free(text);
    return 0;
}
