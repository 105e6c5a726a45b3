/*
 * Images interchange with QEMU's tools, both ways, for every option: what one makes and fills the
 * other checks, reads, changes and hands back.
 */
#include "tests/unit/block-qcow2.h"

#include "io/block/secret.h"

#include <stdarg.h>
#include <sys/wait.h>

#define SIZE (6u << 20)

struct variant {
    const char *name, *create;
    bool backing, snapshots, compress, luks;
};

static const struct variant variants[] = {
    {"default", "", false, true, true, false},
    {"version 2", "compat=0.10", false, true, true, false},
    {"version 2 with backing", "compat=0.10,cluster_size=4k", true, true, true, false},
    {"clusters of 512", "cluster_size=512", false, true, true, false},
    {"clusters of 2M", "cluster_size=2M", false, true, true, false},
    {"backing", "cluster_size=32k", true, true, true, false},
    {"counts of 1 bit", "refcount_bits=1", false, false, true, false},
    {"counts of 2 bits", "refcount_bits=2,cluster_size=4k", false, true, true, false},
    {"counts of 4 bits", "refcount_bits=4,cluster_size=1k", false, true, true, false},
    {"counts of 8 bits", "refcount_bits=8", false, true, true, false},
    {"counts of 32 bits", "refcount_bits=32,cluster_size=512", false, true, true, false},
    {"counts of 64 bits", "refcount_bits=64,cluster_size=512", false, true, true, false},
    {"lazy counts", "lazy_refcounts=on", false, true, true, false},
    {"zstd", "compression_type=zstd", true, true, true, false},
    {"extended L2", "extended_l2=on", false, true, true, false},
    {"extended L2 with backing", "extended_l2=on,cluster_size=16k", true, true, true, false},
    {"preallocation=metadata", "preallocation=metadata", false, true, true, false},
    {"preallocation=falloc", "preallocation=falloc,cluster_size=4k", false, true, true, false},
    {"preallocation=full", "preallocation=full", false, true, true, false},
    {"data file", "data_file=image.data", false, false, false, false},
    {"raw data file", "data_file=image.data,data_file_raw=on", false, false, false, false},
    {"LUKS", "encrypt.format=luks,encrypt.key-secret=s0,encrypt.iter-time=100", false, true, false,
     true},
    {"LUKS, cbc, essiv",
     "encrypt.format=luks,encrypt.key-secret=s0,encrypt.iter-time=100,encrypt.cipher-alg=aes-128,"
     "encrypt.cipher-mode=cbc,encrypt.ivgen-alg=essiv,encrypt.ivgen-hash-alg=sha256,"
     "cluster_size=4k",
     false, true, false, true},
};

static uint8_t *model;
static char image[300], raw[300], base[300];

static bool has_output(const char *text)
{
    static char all[20000];
    FILE *f = fopen(block_test_path("out.txt"), "r");
    size_t n = f ? fread(all, 1, sizeof(all) - 1, f) : 0;

    all[n] = 0;
    if (f) {
        fclose(f);
    }
    return strstr(all, text) != NULL;
}

/*
 * Runs a command in the folder; true if it succeeds. qemu-img measures how fast it is before it
 * makes a password's key, and gives up when its clock is too coarse for that, as on a busy machine.
 */
__attribute__((format(printf, 1, 2))) static bool sh(const char *format, ...)
{
    char command[2000];
    va_list ap;
    int n = snprintf(command, sizeof(command), "cd '%s' && ( ", block_test_folder);
    int status = 1;

    va_start(ap, format);
    n += vsnprintf(command + n, sizeof(command) - (size_t)n, format, ap);
    va_end(ap);
    snprintf(command + n, sizeof(command) - (size_t)n, " ) >out.txt 2>&1");
    for (unsigned i = 0; i < 20 && status; i++) {
        status = system(command);
        if (!has_output("accurate CPU usage")) {
            break;
        }
    }
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void show_output(void)
{
    char line[300];
    FILE *f = fopen(block_test_path("out.txt"), "r");

    for (int i = 0; f && i < 6 && fgets(line, sizeof(line), f); i++) {
        line[strcspn(line, "\n")] = 0;
        tap_note("%s", line);
    }
    if (f) {
        fclose(f);
    }
}

static void ok(bool good, const struct variant *v, const char *what)
{
    if (!tap_ok(good, "%s: %s", v->name, what)) {
        show_output();
        tap_note("%s", block_test_error);
    }
}

/* ---- the two sides ---- */

static const char *secret_options(const struct variant *v)
{
    return v->luks ? "--object secret,id=s0,data=hunter2 --image-opts "
                     "driver=qcow2,file.filename=image,encrypt.key-secret=s0"
                   : "-f qcow2 image";
}

static struct block_node *open_image(const struct variant *v)
{
    return block_test_open(image, "qcow2",
                           v->luks ? "cache.no-flush=on,encrypt.key-secret=s0"
                                   : "cache.no-flush=on,discard=unmap");
}

static bool qemu_checks(const struct variant *v)
{
    return sh("qemu-img check %s", secret_options(v));
}

/* Do QEMU's tools read what the model has? */
static bool qemu_reads(const struct variant *v)
{
    uint8_t *bytes = malloc(SIZE);
    bool same;
    int fd;

    if (!sh("rm -f raw; qemu-img convert -t unsafe -O raw %s raw", secret_options(v))) {
        free(bytes);
        return false;
    }
    fd = open(raw, O_RDONLY);
    same = fd >= 0 && read(fd, bytes, SIZE) == SIZE && memcmp(bytes, model, SIZE) == 0;
    for (size_t i = 0; !same && i < SIZE; i++) {
        if (bytes[i] != model[i]) {
            tap_note("differs at %#zx", i);
            break;
        }
    }
    close(fd);
    free(bytes);
    return same;
}

static bool we_read(struct block_node *node)
{
    uint8_t *bytes = malloc(SIZE);
    bool same = block_pread(node, 0, bytes, SIZE) == 0 && memcmp(bytes, model, SIZE) == 0;

    for (size_t i = 0; !same && i < SIZE; i++) {
        if (bytes[i] != model[i]) {
            tap_note("differs at %#zx", i);
            break;
        }
    }
    free(bytes);
    return same;
}

static bool we_fill(struct block_node *node, uint64_t offset, size_t size, uint8_t byte,
                    unsigned flags)
{
    memset(model + offset, byte, size);
    return block_pwrite(node, offset, model + offset, size, flags) == 0;
}

static bool we_zero(struct block_node *node, uint64_t offset, size_t size, unsigned flags)
{
    memset(model + offset, 0, size);
    return block_zero(node, offset, size, flags) == 0;
}

static uint32_t cluster_size(struct block_node *node)
{
    struct block_info info = {0};

    block_get_info(node, &info);
    free(info.backing_filename);
    free(info.backing_format);
    return info.cluster_size;
}

/* A bit of everything. */
static bool we_change(const struct variant *v, struct block_node *node, uint8_t seed)
{
    uint32_t cluster = cluster_size(node);
    bool good = we_fill(node, 512, 1024, seed, 0) && we_fill(node, 70000, 200000, seed + 1u, 0) &&
                we_fill(node, SIZE - 512, 512, seed + 2u, 0) &&
                we_zero(node, 100352, 65536 + 512, 0) &&
                we_zero(node, 1 << 20, 1 << 20, BLOCK_MAY_UNMAP);

    if (good && v->compress) {
        good = we_fill(node, 4u << 20, cluster, seed + 3u, BLOCK_COMPRESSED) &&
               we_fill(node, (4u << 20) + (cluster < SIZE / 8 ? cluster : 0), cluster, seed + 4u,
                       BLOCK_COMPRESSED) &&
               we_fill(node, (4u << 20) + 512, 512, seed + 5u, 0);
    }
    return good;
}

static bool qemu_change(const struct variant *v, uint8_t seed)
{
    memset(model + 4096, seed, 8192);
    memset(model + 262144, seed + 1u, 100000 / 512 * 512);
    memset(model + (5u << 20), 0, 1u << 18);
    memset(model + (3u << 20) + 1536, seed + 2u, 2560);
    return sh("qemu-io -t unsafe %s -c 'write -P %u 4096 8192' -c 'write -P %u 262144 %u' "
              "-c 'write -z -u 5M 256k' -c 'write -P %u %u 2560'",
              secret_options(v), seed, (uint8_t)(seed + 1), 100000 / 512 * 512, (uint8_t)(seed + 2),
              (3u << 20) + 1536);
}

/* ---- tests ---- */

static void start_model(const struct variant *v)
{
    memset(model, 0, SIZE);
    if (v->backing) {
        memset(model, 0x5a, SIZE / 2);
    }
    sh("rm -f image image.data");
}

static void round_trip(const struct variant *v)
{
    struct block_node *node = open_image(v);

    ok(we_read(node) && qcow2_test_clean(node), v, "is read and consistent when new");
    ok(we_change(v, node, 1), v, "is changed");
    ok(we_read(node), v, "reads what was written");
    block_unref(node);
    ok(qemu_checks(v), v, "qemu-img check after our changes");
    ok(qemu_reads(v), v, "qemu-img reads our changes");
    ok(qemu_change(v, 100), v, "qemu-io changes it");
    node = open_image(v);
    ok(qcow2_test_clean(node), v, "consistent after QEMU's changes");
    ok(we_read(node), v, "QEMU's changes are read");
    ok(we_change(v, node, 50), v, "is changed again");
    block_unref(node);
    ok(qemu_checks(v) && qemu_reads(v), v, "QEMU agrees again");
}

static void snapshots(const struct variant *v)
{
    uint8_t *saved = malloc(SIZE);
    struct block_node *node = open_image(v);
    struct block_snapshot s = {.name = "ours", .icount = UINT64_MAX}, *list = NULL;
    bool good;

    memcpy(saved, model, SIZE);
    ok(node->driver->snapshot_create(node, &s) == 0, v, "a snapshot");
    ok(we_change(v, node, 150), v, "changes after it");
    block_unref(node);
    ok(qemu_checks(v) && qemu_reads(v), v, "QEMU agrees with an image with a snapshot");
    if (!v->luks) {
        ok(sh("qemu-img snapshot -c theirs image") && qemu_change(v, 200), v,
           "QEMU takes a snapshot and changes the image");
        node = open_image(v);
        ok(qcow2_test_clean(node) && we_read(node), v, "which is understood");
        good = node->driver->snapshot_list(node, &list) == 2 && strcmp(list[0].name, "ours") == 0 &&
               strcmp(list[1].name, "theirs") == 0 && list[1].disk_size == SIZE;
        ok(good, v, "both snapshots are listed");
        free(list);
        ok(node->driver->snapshot_delete(node, "theirs", block_test_error,
                                         sizeof(block_test_error)) == 0 &&
               qcow2_test_clean(node),
           v, "QEMU's snapshot is deleted");
        block_unref(node);
        ok(qemu_checks(v) && qemu_reads(v), v, "QEMU agrees");
    }
    node = open_image(v);
    memcpy(model, saved, SIZE);
    ok(node->driver->snapshot_goto(node, "ours") == 0 && we_read(node) && qcow2_test_clean(node), v,
       "back to the snapshot");
    block_unref(node);
    ok(qemu_checks(v) && qemu_reads(v), v, "QEMU agrees after going back");
    if (!v->luks) {
        ok(sh("qemu-img snapshot -d ours image") && qemu_checks(v) && qemu_reads(v), v,
           "QEMU deletes our snapshot");
    }
    free(saved);
}

static void test_variant(const struct variant *v)
{
    bool made;

    start_model(v);
    made = qcow2_test_create(image, SIZE, v->create[0] ? v->create : NULL,
                             v->backing ? base : NULL) == 0;
    ok(made, v, "is created");
    if (made) {
        ok(qemu_checks(v), v, "qemu-img check of the new image");
        round_trip(v);
        if (v->snapshots) {
            snapshots(v);
        }
    }
    start_model(v);
    /* On a busy machine it may be unable to time its key derivation. */
    made = false;
    for (int i = 0; i < 10 && !made; i++) {
        made = sh("rm -f image; qemu-img create %s -f qcow2 %s%s %s image %u",
                  v->luks ? "--object secret,id=s0,data=hunter2" : "", v->create[0] ? "-o " : "",
                  v->create, v->backing ? "-F qcow2 -b base" : "", SIZE);
        if (!made && !has_output("accurate CPU usage")) {
            break;
        }
    }
    ok(made, v, "is created by qemu-img");
    if (made) {
        round_trip(v);
    }
}

/* Bits of a bitmap of 64 KiB granules. */
static void bitmaps(void)
{
    static const struct variant v = {"bitmaps", "", false, false, false, false};
    struct block_bitmap_info info = {
        .name = "ours", .granularity = 65536, .autoload = true, .bytes = SIZE / 65536 / 8};
    struct block_bitmap_info *list = NULL, loaded;
    uint8_t bits[SIZE / 65536 / 8] = {0x81, 0, 0xff}, *back = NULL;
    struct block_node *node;
    bool good;

    start_model(&v);
    qcow2_test_create(image, SIZE, NULL, NULL);
    node = open_image(&v);
    ok(node->driver->bitmap_store(node, &info, bits, block_test_error, sizeof(block_test_error)) ==
           0,
       &v, "one is stored");
    ok(qcow2_test_clean(node), &v, "consistent");
    block_unref(node);
    ok(qemu_checks(&v), &v, "qemu-img check");
    ok(sh("qemu-img info image") && has_output("name: ours") && has_output("granularity: 65536") &&
           has_output("auto") && !has_output("in-use"),
       &v, "qemu-img info shows it");
    ok(sh("qemu-img bitmap --add -g 32k image theirs && qemu-img bitmap --merge ours image theirs"),
       &v, "QEMU merges it into another");
    node = open_image(&v);
    good = node->driver->bitmap_list(node, &list) == 2;
    free(list);
    ok(good && qcow2_test_clean(node), &v, "both are listed");
    good = node->driver->bitmap_load(node, "theirs", &loaded, &back) == 0 &&
           loaded.granularity == 32768 && back[0] == 3 && back[1] == 0xc0 && back[4] == 0xff &&
           back[5] == 0xff && back[6] == 0;
    ok(good, &v, "QEMU's bits are loaded");
    free(back);
    good = node->driver->bitmap_list(node, &list) == 2 && (list[0].in_use || list[1].in_use) &&
           !(list[0].in_use && list[1].in_use);
    free(list);
    ok(good, &v, "what was loaded is marked in use");
    ok(node->driver->bitmap_remove(node, "ours", block_test_error, sizeof(block_test_error)) == 0 &&
           node->driver->bitmap_remove(node, "nobody", block_test_error,
                                       sizeof(block_test_error)) == -ENOENT,
       &v, "one is removed, another is not there");
    block_unref(node);
    ok(qemu_checks(&v) && sh("qemu-img info image") && has_output("in-use") &&
           !has_output("name: ours"),
       &v, "QEMU agrees");
    node = open_image(&v);
    node->driver->bitmap_remove(node, "theirs", block_test_error, sizeof(block_test_error));
    ok(qcow2_test_clean(node), &v, "nothing is lost when all are removed");
    block_unref(node);
    ok(qemu_checks(&v) && sh("qemu-img info image") && !has_output("bitmaps"), &v, "QEMU agrees");
}

static bool amend(const char *options)
{
    struct block_node *node = block_test_open(image, "qcow2", "cache.no-flush=on");
    int err = node->driver->amend(node, options, false, NULL, NULL, block_test_error,
                                  sizeof(block_test_error));

    if (err) {
        tap_note("%s", block_test_error);
    }
    block_unref(node);
    return err == 0;
}

static void amending(void)
{
    static const struct variant v = {"amend", "", true, true, true, false};
    struct block_snapshot s = {.name = "s", .icount = UINT64_MAX};
    struct block_node *node;

    start_model(&v);
    qcow2_test_create(image, SIZE, "cluster_size=4k", base);
    node = open_image(&v);
    we_change(&v, node, 1);
    node->driver->snapshot_create(node, &s);
    we_change(&v, node, 20);
    block_unref(node);
    ok(amend("compat=0.10") && qemu_checks(&v) && qemu_reads(&v), &v, "version 3 to 2");
    ok(sh("qemu-img info image") && has_output("compat: 0.10"), &v, "it is version 2");
    ok(amend("compat=1.1") && qemu_checks(&v) && qemu_reads(&v), &v, "version 2 to 3");
    for (unsigned bits = 64; bits >= 2; bits /= 2) {
        char option[40];

        snprintf(option, sizeof(option), "refcount_bits=%u", bits);
        ok(amend(option) && qemu_checks(&v) && qemu_reads(&v), &v, option);
    }
    ok(!amend("refcount_bits=1"), &v, "refcount_bits=1 is refused with a snapshot");
    ok(amend("lazy_refcounts=on") && sh("qemu-img info image") &&
           has_output("lazy refcounts: true"),
       &v, "lazy_refcounts=on");
    ok(amend("lazy_refcounts=off") && qemu_checks(&v), &v, "lazy_refcounts=off");
    ok(!amend("cluster_size=64k") && !amend("nonsense=1"), &v, "what can't be changed is refused");
    ok(amend("refcount_bits=16") && sh("qemu-img snapshot -d s image") && qemu_checks(&v), &v,
       "QEMU deletes the snapshot afterwards");
    ok(amend("size=7M") && sh("qemu-img info image") && has_output("7340032"), &v, "size");
    ok(amend("size=6M") && qemu_checks(&v) && qemu_reads(&v), &v, "and back");
    ok(sh("cp base other") && amend("backing_file=other,backing_fmt=qcow2") &&
           sh("qemu-img info image") && has_output("backing file: other"),
       &v, "backing_file");
    ok(qemu_reads(&v), &v, "which is read");
}

/* The two numbers that qemu-img measure prints, and ours. */
static void measuring(void)
{
    static const char *const options[] = {"cluster_size=64k", "cluster_size=512",
                                          "cluster_size=2M,refcount_bits=64",
                                          "extended_l2=on,cluster_size=16k"};
    static const uint64_t sizes[] = {0, 1u << 20, 12345u << 9, UINT64_C(10) << 40};
    const struct block_driver *driver = block_driver_find("qcow2");

    for (unsigned i = 0; i < 16; i++) {
        void *object = calloc(1, driver->create_options_size);
        struct block_measure m = {0};
        char text[100], more[100];
        uint64_t size = sizes[i / 4];

        if (i % 4 == 1 && size > UINT64_C(1) << 37) {
            free(object);
            continue; /* clusters of 512 bytes do not reach so far */
        }
        property_set_defaults(driver->create_options, object);
        property_set_list(driver->create_options, object, "qcow2", options[i % 4], NULL, NULL,
                          block_test_error, sizeof(block_test_error));
        sh("qemu-img measure -O qcow2 -o %s --size %llu", options[i % 4], (unsigned long long)size);
        driver->measure(size, NULL, object, &m, block_test_error, sizeof(block_test_error));
        snprintf(text, sizeof(text), "required size: %llu\n", (unsigned long long)m.required);
        snprintf(more, sizeof(more), "fully allocated size: %llu\n",
                 (unsigned long long)m.fully_allocated);
        if (!tap_ok(has_output(text) && has_output(more), "measure: %s, %llu bytes", options[i % 4],
                    (unsigned long long)size)) {
            show_output();
            tap_note("%s %s", text, more);
        }
        property_clear(driver->create_options, object);
        free(object);
    }
}

/* Old AES images: read, not written. */
static void old_aes(void)
{
    static const struct variant v = {"AES", "", false, false, false, false};
    struct block_node *node;
    int err;

    memset(model, 0, SIZE);
    memset(model + 4096, 0x77, 100000 / 512 * 512);
    if (!sh("rm -f image; qemu-img create --object secret,id=s0,data=hunter2 -f qcow2 -o "
            "encrypt.format=aes,encrypt.key-secret=s0 image %u && "
            "qemu-io --object secret,id=s0,data=hunter2 --image-opts "
            "driver=qcow2,file.filename=image,encrypt.key-secret=s0 -c 'write -P 0x77 4096 %u'",
            SIZE, 100000 / 512 * 512)) {
        tap_skip("AES", "qemu-img can't make such images");
        return;
    }
    err = block_open_file(&node, image, "qcow2", "encrypt.key-secret=s0", true, block_test_error,
                          sizeof(block_test_error));
    ok(err == 0, &v, "is opened for reading");
    if (err == 0) {
        ok(we_read(node), &v, "is read");
        block_unref(node);
    }
    err = block_open_file(&node, image, "qcow2", "encrypt.key-secret=s0", false, block_test_error,
                          sizeof(block_test_error));
    ok(err == -ENOTSUP, &v, "is not opened for writing");
}

int main(void)
{
    block_test_begin();
    if (system("qemu-img --version >/dev/null 2>&1 && qemu-io --version >/dev/null 2>&1") != 0) {
        tap_skip("interchange with QEMU", "qemu-img or qemu-io is not installed");
        return block_test_end();
    }
    snprintf(image, sizeof(image), "%s", block_test_path("image"));
    snprintf(raw, sizeof(raw), "%s", block_test_path("raw"));
    snprintf(base, sizeof(base), "%s", block_test_path("base"));
    model = malloc(SIZE);
    secret_add("id=s0,data=hunter2", block_test_error, sizeof(block_test_error));
    sh("qemu-img create -f qcow2 base %u && qemu-io -f qcow2 base -c 'write -P 0x5a 0 %u'", SIZE,
       SIZE / 2);
    for (size_t i = 0; i < sizeof(variants) / sizeof(variants[0]); i++) {
        test_variant(&variants[i]);
    }
    bitmaps();
    amending();
    measuring();
    old_aes();
    secret_remove("s0");
    free(model);
    return block_test_end();
}
