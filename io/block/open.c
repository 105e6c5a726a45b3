/*
 * Opening graphs: from options to nodes.
 *
 * A node takes from its options what every node has (struct block_generic), its children (a name,
 * or options of their own below the child's name), and what the driver's table has; anything left
 * is an error. Children inherit: read-only and the cache mode go down, discards are passed on by
 * everything below the node that the user opened.
 *
 * What format an image has is never guessed from contents that a guest could have written, except
 * for the file that the user named: then a guess of "raw" is guarded (block_check_probed()). The
 * format of a backing file comes from the image or from the user.
 */
#include "io/block/internal.h"
#include "util/error.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* What a node gets from above. */
struct inherited {
    struct block_generic generic;
    bool no_io;
    bool protocol;   /* without "driver" the file name decides */
    bool may_probe;  /* without "driver" the contents decide */
    bool no_backing; /* what the image names is not opened */
    bool repair;     /* it is opened as it is, if its driver can do that */
    unsigned depth;
};

static const char *const discard_names[] = {"ignore", "unmap", NULL};
static const char *const detect_names[] = {"off", "on", "unmap", NULL};

static const struct property generic_options[] = {
    PROPERTY(STRING, "node-name", struct block_generic, node_name, .help = "name of the node"),
    PROPERTY(BOOL, "read-only", struct block_generic, readonly, .help = "never written"),
    PROPERTY(BOOL, "auto-read-only", struct block_generic, auto_readonly,
             .help = "becomes read-only when it can't be written"),
    PROPERTY(BOOL, "force-share", struct block_generic, force_share,
             .help = "no locks; only for read-only nodes"),
    PROPERTY(BOOL, "cache.direct", struct block_generic, direct,
             .help = "around the host's page cache"),
    PROPERTY(BOOL, "cache.no-flush", struct block_generic, no_flush, .help = "ignores flushes"),
    PROPERTY(BOOL, "cache.writeback", struct block_generic, writeback,
             .help = "off: every write is flushed"),
    PROPERTY(ENUM, "discard", struct block_generic, discard, .names = discard_names,
             .help = "what becomes of discards"),
    PROPERTY(ENUM, "detect-zeroes", struct block_generic, detect_zeroes, .names = detect_names,
             .help = "makes writes of zeros efficient"),
    PROPERTY_END,
};

static int open_any(struct block_node **node, struct block_options *options,
                    const struct inherited *from, char *error, size_t error_size);

const struct block_driver *block_driver_find(const char *name)
{
    for (unsigned i = 0; block_drivers[i]; i++) {
        if (strcmp(block_drivers[i]->name, name) == 0) {
            return block_drivers[i];
        }
    }
    return NULL;
}

const struct block_driver *block_probe(const uint8_t *head, size_t size, const char *filename)
{
    const struct block_driver *best = block_driver_find("raw");
    int best_score = 0;

    for (unsigned i = 0; block_drivers[i]; i++) {
        int score = block_drivers[i]->probe ? block_drivers[i]->probe(head, size, filename) : 0;

        if (score > best_score) {
            best_score = score;
            best = block_drivers[i];
        }
    }
    return best;
}

static int out_of_memory(char *error, size_t error_size)
{
    snprintf(error, error_size, "block: out of memory");
    return -ENOMEM;
}

/* ---- file names ---- */

/* The part before a ':' that comes before any '/'; 0: none. */
static size_t protocol_length(const char *filename)
{
    size_t n = strcspn(filename, ":/");

    return filename[n] == ':' ? n : 0;
}

/* The driver for a file name, and where the name's own part begins. */
static const struct block_driver *driver_of_filename(const char **filename, char *error,
                                                     size_t error_size)
{
    size_t n = protocol_length(*filename);
    struct stat st;

    if (n == 4 && strncmp(*filename, "file:", 5) == 0) {
        *filename += 5;
    } else if (n) {
        for (unsigned i = 0; block_drivers[i]; i++) {
            const char *protocol = block_drivers[i]->protocol;

            if (protocol && strlen(protocol) == n && strncmp(protocol, *filename, n) == 0) {
                *filename += n + 1;
                return block_drivers[i];
            }
        }
        snprintf(error, error_size, "%s: unknown protocol '%.*s'; a file of that name is ./%s",
                 *filename, (int)n, *filename, *filename);
        return NULL;
    }
    bool device = stat(*filename, &st) == 0 && (S_ISBLK(st.st_mode) || S_ISCHR(st.st_mode));

    return block_driver_find(device ? "host_device" : "file");
}

/* A name in an image is relative to the image's folder. malloc()ed. */
static char *resolve(const char *image, const char *name)
{
    const char *slash = strrchr(image, '/');
    char *full = NULL;

    if (name[0] == '/' || protocol_length(name) || protocol_length(image) || !slash) {
        return strdup(name);
    }
    return asprintf(&full, "%.*s%s", (int)(slash - image + 1), image, name) < 0 ? NULL : full;
}

/* ---- one node ---- */

static int take_generic(struct block_core *core, struct block_options *options,
                        const struct inherited *from, char *error, size_t error_size)
{
    struct block_generic *g = &core->generic;
    const char *value;

    *g = from->generic;
    g->node_name = NULL;
    for (const struct property *p = generic_options; p->name; p++) {
        if (!block_options_get(options, p->name, &value)) {
            continue;
        }
        int err = property_set(generic_options, g, core->node.driver->name, p->name,
                               value ? value : "", error, error_size);

        if (err) {
            return err;
        }
        block_options_remove(options, p->name);
    }
    if (g->detect_zeroes == BLOCK_DETECT_UNMAP && !g->discard) {
        snprintf(error, error_size, "%s: detect-zeroes=unmap: expected discard=unmap with it",
                 core->node.driver->name);
        return -EINVAL;
    }
    if (g->force_share && !g->readonly) {
        snprintf(error, error_size, "%s: force-share=on: expected read-only=on with it",
                 core->node.driver->name);
        return -EINVAL;
    }
    core->node.readonly = g->readonly;
    core->node.auto_readonly = g->auto_readonly;
    core->node.direct = g->direct;
    core->node.no_flush = g->no_flush;
    core->node.discard_unmap = g->discard;
    core->node.no_io = from->no_io;
    core->no_backing = from->no_backing;
    core->repair = from->repair;
    return 0;
}

static void inherit(struct inherited *to, const struct block_core *from, enum block_role role,
                    unsigned depth)
{
    *to = (struct inherited){
        .generic = {.readonly = from->generic.readonly || role == BLOCK_ROLE_BACKING,
                    .auto_readonly = role != BLOCK_ROLE_BACKING,
                    .force_share = from->generic.force_share,
                    .direct = from->generic.direct,
                    .no_flush = from->generic.no_flush,
                    .writeback = true,
                    .discard = role != BLOCK_ROLE_BACKING},
        .no_io = from->node.no_io,
        .no_backing = from->no_backing,
        .repair = from->repair,
        .protocol = role == BLOCK_ROLE_FILE || role == BLOCK_ROLE_DATA,
        .depth = depth + 1,
    };
    /* A filter over a node that the user opened by hand may be over a format as well. */
    if (role == BLOCK_ROLE_FILTERED) {
        to->protocol = true;
    }
}

/* Opens one child, or refers to a node by name; *found says whether options had it. */
static int open_child(struct block_node *node, const struct block_child_rule *rule,
                      struct block_options *options, unsigned depth, bool *found, char *error,
                      size_t error_size)
{
    struct block_options below = {0};
    struct block_node *child = NULL;
    struct inherited from;
    char prefix[32];
    const char *reference;
    int err;

    *found = true;
    if (block_options_get(options, rule->name, &reference)) {
        if (!reference || (rule->role == BLOCK_ROLE_BACKING && !*reference)) {
            block_options_remove(options, rule->name);
            return 0;
        }
        child = block_find(reference);
        if (!child) {
            snprintf(error, error_size, "%s: %s=%s: expected the name of a node",
                     node->driver->name, rule->name, reference);
            return -ENOENT;
        }
        block_ref(child);
        block_options_remove(options, rule->name);
    } else {
        snprintf(prefix, sizeof(prefix), "%s.", rule->name);
        *found = block_options_has_prefix(options, prefix);
        if (!*found) {
            return 0;
        }
        if (block_options_split(options, prefix, &below)) {
            err = out_of_memory(error, error_size);
        } else {
            inherit(&from, node->core, rule->role, depth);
            err = open_any(&child, &below, &from, error, error_size);
        }
        block_options_clear(&below);
        if (err) {
            return err;
        }
    }
    err = block_node_attach(node, child, rule, error, error_size);
    if (err) {
        block_unref(child);
    }
    return err;
}

static int open_children(struct block_node *node, struct block_options *options, unsigned depth,
                         bool *has_backing, char *error, size_t error_size)
{
    for (const struct block_child_rule *r = node->driver->children; r && r->name; r++) {
        bool found = node->file && r->role != BLOCK_ROLE_BACKING && r->role != BLOCK_ROLE_DATA;

        if (!found) {
            int err = open_child(node, r, options, depth, &found, error, error_size);

            if (err) {
                return err;
            }
        }
        if (!found && r->required) {
            snprintf(error, error_size, "%s: option '%s' is missing", node->driver->name, r->name);
            return -EINVAL;
        }
        *has_backing |= found && r->role == BLOCK_ROLE_BACKING;
    }
    return 0;
}

static int set_driver_options(struct block_node *node, struct block_options *options, char *error,
                              size_t error_size)
{
    const struct block_driver *driver = node->driver;

    for (unsigned i = 0; i < options->count; i++) {
        const struct block_option *o = &options->list[i];
        int err = -ENOENT;

        if (property_find(driver->options, o->name) && o->value) {
            err = property_set(driver->options, node->options, driver->name, o->name, o->value,
                               error, error_size);
        } else if (driver->option) {
            err = driver->option(node, o->name, o->value, error, error_size);
        }
        if (err == -ENOENT) {
            snprintf(error, error_size, "%s: no option '%s%s%s'", driver->name, o->name,
                     o->value ? "=" : "", o->value ? o->value : "");
            err = -EINVAL;
        }
        if (err) {
            return err;
        }
    }
    return 0;
}

static int set_filename(struct block_core *core, const struct block_options *options)
{
    const char *name = NULL;

    if (core->node.file) {
        name = core->node.file->node->filename;
    } else {
        block_options_get(options, "filename", &name);
    }
    core->filename = strdup(name ? name : "");
    core->node.filename = core->filename ? core->filename : "";
    return core->filename ? 0 : -ENOMEM;
}

static int open_backing(struct block_node *node, unsigned depth, char *error, size_t error_size)
{
    struct block_core *core = node->core;
    struct block_options options = {0};
    struct block_node *backing = NULL;
    static const struct block_child_rule rule = {.name = "backing", .role = BLOCK_ROLE_BACKING};
    char *name = resolve(node->filename, core->backing_filename);
    struct inherited from;
    int err;

    inherit(&from, core, BLOCK_ROLE_BACKING, depth);
    if (!name || block_options_set(&options, "filename", name) ||
        (core->backing_format && block_options_set(&options, "driver", core->backing_format))) {
        err = out_of_memory(error, error_size);
    } else if (!core->backing_format && strncmp(name, "json:", 5) != 0) {
        snprintf(error, error_size,
                 "%s: backing file '%s': the image does not say its format; expected "
                 "backing.driver=FORMAT,backing.file.filename=FILE",
                 node->filename, core->backing_filename);
        err = -EINVAL;
    } else {
        err = open_any(&backing, &options, &from, error, error_size);
    }
    free(name);
    block_options_clear(&options);
    if (!err) {
        err = block_node_attach(node, backing, &rule, error, error_size);
        if (err) {
            block_unref(backing);
        }
    }
    return err;
}

int block_set_data_file(struct block_node *node, const char *filename, char *error,
                        size_t error_size)
{
    static const struct block_child_rule rule = {.name = "data-file", .role = BLOCK_ROLE_DATA};
    struct block_options options = {0};
    struct block_node *data = NULL;
    struct inherited from;
    char *name;
    int err;

    if (node->data) {
        return 0;
    }
    name = resolve(node->filename, filename);
    inherit(&from, node->core, BLOCK_ROLE_DATA, 0);
    if (!name || block_options_set(&options, "filename", name)) {
        err = out_of_memory(error, error_size);
    } else {
        err = open_any(&data, &options, &from, error, error_size);
    }
    free(name);
    block_options_clear(&options);
    if (!err) {
        err = block_node_attach(node, data, &rule, error, error_size);
        if (err) {
            block_unref(data);
        }
    }
    return err;
}

static bool incoming;

void block_set_incoming(bool on)
{
    incoming = on;
}

/* Opens a node of this driver. `file` (may be NULL) is a child that is open; its reference is taken
 * over in any case. */
static int open_node(struct block_node **result, const struct block_driver *driver,
                     struct block_options *options, struct block_node *file,
                     const struct inherited *from, char *error, size_t error_size)
{
    struct block_node *node = block_node_new(driver);
    bool has_backing = false;
    int err = 0;

    if (!node) {
        block_unref(file);
        return out_of_memory(error, error_size);
    }
    node->core->inactive = incoming;
    err = take_generic(node->core, options, from, error, error_size);
    if (file) {
        err = err ? err : block_node_attach(node, file, driver->children, error, error_size);
        if (err) {
            block_unref(file);
        }
    }
    if (!err) {
        err = open_children(node, options, from->depth, &has_backing, error, error_size);
    }
    if (!err && set_filename(node->core, options)) {
        err = out_of_memory(error, error_size);
    }
    if (!err) {
        err = set_driver_options(node, options, error, error_size);
    }
    if (!err && from->repair && property_find(driver->options, "repair")) {
        err = property_set(driver->options, node->options, driver->name, "repair", "on", error,
                           error_size);
    }
    if (!err) {
        err = block_node_set_name(node, node->core->generic.node_name, error, error_size);
    }
    if (!err) {
        error[0] = 0;
        err = driver->open(node, error, error_size);
        node->core->opened = !err;
        if (err && !error[0]) {
            snprintf(error, error_size, "%s: %s: %s", driver->name, node->filename, strerror(-err));
        }
    }
    if (!err && !has_backing && node->core->backing_filename && driver->may_back &&
        !from->no_backing) {
        err = open_backing(node, from->depth, error, error_size);
    }
    if (err) {
        block_unref(node);
        return err;
    }
    *result = node;
    return 0;
}

/* ---- which driver ---- */

static int probe_node(struct block_node *file, const struct block_driver **driver, char *error,
                      size_t error_size)
{
    uint8_t head[BLOCK_PROBE_SIZE];
    uint64_t size = block_size(file);
    size_t n = size < sizeof(head) ? (size_t)size : sizeof(head);
    int err = block_pread(file, 0, head, n);

    if (err) {
        snprintf(error, error_size, "%s: can't read its beginning: %s", file->filename,
                 strerror(-err));
        return err;
    }
    *driver = block_probe(head, n, file->filename);
    return 0;
}

/* No format was said: opens what is below, looks, and opens the format over it. */
static int open_probed(struct block_node **node, struct block_options *options,
                       const struct inherited *from, char *error, size_t error_size)
{
    static const struct block_child_rule rule = {.name = "file", .role = BLOCK_ROLE_FILE};
    const struct block_driver *driver = NULL;
    struct block_options below = {0}, generic = {0};
    struct block_node *file = NULL;
    struct block_core *shell;
    struct inherited down;
    const char *reference;
    int err = 0;

    if (block_options_get(options, rule.name, &reference) && reference) {
        file = block_find(reference);
        if (!file) {
            snprintf(error, error_size, "file=%s: expected the name of a node", reference);
            return -ENOENT;
        }
        block_ref(file);
        block_options_remove(options, rule.name);
    } else {
        /* What the file inherits is what a raw node would have. */
        struct block_node *raw = block_node_new(block_driver_find("raw"));

        if (!raw) {
            return out_of_memory(error, error_size);
        }
        shell = raw->core;
        for (unsigned i = 0; !err && i < options->count; i++) {
            if (property_find(generic_options, options->list[i].name)) {
                err = block_options_set(&generic, options->list[i].name, options->list[i].value);
            }
        }
        err = err ? out_of_memory(error, error_size)
                  : take_generic(shell, &generic, from, error, error_size);
        block_options_clear(&generic);
        inherit(&down, shell, BLOCK_ROLE_FILE, from->depth);
        block_unref(raw);
        if (!err) {
            err = block_options_split(options, "file.", &below)
                      ? out_of_memory(error, error_size)
                      : open_any(&file, &below, &down, error, error_size);
        }
        block_options_clear(&below);
        if (err) {
            return err;
        }
    }
    err = probe_node(file, &driver, error, error_size);
    if (err) {
        block_unref(file);
        return err;
    }
    err = open_node(node, driver, options, file, from, error, error_size);
    if (!err && strcmp(driver->name, "raw") == 0) {
        (*node)->core->probed_raw = true;
        if (!(*node)->readonly) {
            error_warn("image format was not specified for '%s' and probing guessed raw; writes "
                       "to its first bytes that would look like another format are refused; say "
                       "format=raw to lift that",
                       (*node)->filename);
        }
    }
    return err;
}

/* A file name becomes options: those in it, or its driver's. */
static int use_filename(struct block_options *options, const char *filename, char *error,
                        size_t error_size)
{
    char *copy = strdup(filename);
    int err;

    if (!copy) {
        return out_of_memory(error, error_size);
    }
    block_options_remove(options, "filename");
    err = block_options_from_json_text(options, copy + strlen("json:"), error, error_size);
    free(copy);
    return err;
}

static int open_protocol(struct block_node **node, struct block_options *options,
                         const char *filename, const struct inherited *from, char *error,
                         size_t error_size)
{
    const char *rest = filename;
    const struct block_driver *driver = driver_of_filename(&rest, error, error_size);
    char *copy;
    int err;

    if (!driver) {
        return -EINVAL;
    }
    copy = strdup(rest);
    if (!copy || block_options_set(options, "filename", copy)) {
        err = out_of_memory(error, error_size);
    } else {
        err = open_node(node, driver, options, NULL, from, error, error_size);
    }
    free(copy);
    return err;
}

bool block_has_file_child(const struct block_driver *driver)
{
    return driver->children && driver->children[0].name &&
           strcmp(driver->children[0].name, "file") == 0;
}

static int open_any(struct block_node **node, struct block_options *options,
                    const struct inherited *from, char *error, size_t error_size)
{
    const struct block_driver *driver;
    const char *name = NULL, *filename = NULL;
    int err;

    if (from->depth > BLOCK_MAX_CHAIN) {
        snprintf(error, error_size, "block: more than %d nodes on top of each other",
                 BLOCK_MAX_CHAIN);
        return -ELOOP;
    }
    if (block_options_get(options, "filename", &filename) && filename &&
        strncmp(filename, "json:", 5) == 0) {
        err = use_filename(options, filename, error, error_size);
        if (err) {
            return err;
        }
        filename = NULL;
        block_options_get(options, "filename", &filename);
    }
    block_options_get(options, "driver", &name);
    if (!name && from->protocol && filename) {
        return open_protocol(node, options, filename, from, error, error_size);
    }
    driver = name ? block_driver_find(name) : NULL;
    if (name && !driver) {
        snprintf(error, error_size, "driver=%s: no such block driver", name);
        return -EINVAL;
    }
    if (!driver && !from->may_probe) {
        snprintf(error, error_size, "block: option 'driver' is missing");
        return -EINVAL;
    }
    block_options_remove(options, "driver");
    if (filename && (!driver || block_has_file_child(driver))) {
        err = block_options_set(options, "file.filename", filename);
        block_options_remove(options, "filename");
        if (err) {
            return out_of_memory(error, error_size);
        }
    }
    return driver ? open_node(node, driver, options, NULL, from, error, error_size)
                  : open_probed(node, options, from, error, error_size);
}

/* ---- the way in ---- */

int block_open_options(struct block_node **node, struct block_options *options, bool may_probe,
                       char *error, size_t error_size)
{
    struct inherited from = {.generic = {.writeback = true}, .may_probe = may_probe};

    return open_any(node, options, &from, error, error_size);
}

int block_open_flags(struct block_node **node, struct block_options *options, unsigned flags,
                     char *error, size_t error_size)
{
    struct inherited from = {
        .generic = {.writeback = true},
        .no_io = (flags & BLOCK_OPEN_NO_IO) != 0,
        .no_backing = (flags & BLOCK_OPEN_NO_BACKING) != 0,
        .repair = (flags & BLOCK_OPEN_REPAIR) != 0,
        .may_probe = true,
    };

    return open_any(node, options, &from, error, error_size);
}

int block_open_over(struct block_node **node, const struct block_driver *driver,
                    struct block_options *options, struct block_node *file, char *error,
                    size_t error_size)
{
    struct inherited from = {.generic = {.writeback = true, .discard = true}};

    return open_node(node, driver, options, file, &from, error, error_size);
}

int block_hold(struct block_node *node, char *error, size_t error_size)
{
    int err;

    node->core->implicit = true;
    err = block_perm_update(node, error, error_size);
    if (err) {
        node->core->implicit = false;
    }
    return err;
}

int block_open(struct block_node **node, const struct json_t *options, char *error,
               size_t error_size)
{
    struct block_options flat = {0};
    int err = block_options_from_json(&flat, options, error, error_size);

    if (!err) {
        err = block_open_options(node, &flat, false, error, error_size);
    }
    block_options_clear(&flat);
    if (!err) {
        err = block_hold(*node, error, error_size);
        if (err) {
            block_unref(*node);
        }
    }
    return err;
}
