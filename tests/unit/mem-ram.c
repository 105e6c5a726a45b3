/* RAM blocks and dirty bits. */
#include "mem/dirty.h"
#include "mem/ram.h"

#include "tests/unit/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static char error[256];

static struct mem_ram *make(struct mem_ram_config config)
{
    struct mem_ram *ram = NULL;

    error[0] = 0;
    mem_ram_create(&ram, &config, error, sizeof(error));
    return ram;
}

/* The same where it has to succeed. */
static struct mem_ram *must(struct mem_ram_config config)
{
    struct mem_ram *ram = make(config);

    if (!ram) {
        tap_ok(false, "%s", error);
        exit(1);
    }
    return ram;
}

/* Pages of the block that the host has in memory. */
static unsigned resident(const struct mem_ram *ram)
{
    static unsigned char vec[256];
    unsigned n = 0;

    mincore(ram->host, ram->size, vec);
    for (uint64_t i = 0; i < ram->pages; i++) {
        n += vec[i] & 1;
    }
    return n;
}

static void check_blocks(void)
{
    struct mem_ram *ram = must((struct mem_ram_config){.name = "plain", .size = 5000});

    tap_ok(ram && ram->size == 2 * MEM_PAGE_SIZE && ram->pages == 2, "a size is rounded up");
    tap_ok(ram->host[0] == 0 && ram->host[ram->size - 1] == 0, "memory starts as zero");
    tap_ok(mem_ram_host(ram, 0, ram->size) && mem_ram_host(ram, ram->size, 0), "pointers inside");
    tap_ok(!mem_ram_host(ram, 1, ram->size) && !mem_ram_host(ram, ram->size + 1, 0) &&
               !mem_ram_host(ram, UINT64_MAX, 2),
           "and none outside");
    tap_eq(resident(ram), 2, "what was touched is there");
    ram->host[0] = ram->host[MEM_PAGE_SIZE] = 1;
    mem_dirty_clear(ram, MEM_DIRTY_MIGRATION, 0, ram->size, NULL);
    tap_eq(mem_ram_discard(ram, 1, ram->size - 1), 0, "the whole pages of a range are discarded");
    tap_ok(ram->host[0] == 1 && ram->host[MEM_PAGE_SIZE] == 0, "and nothing else");
    tap_ok(!mem_dirty_test(ram, MEM_DIRTY_MIGRATION, 0, 1) &&
               mem_dirty_test(ram, MEM_DIRTY_MIGRATION, MEM_PAGE_SIZE, 1),
           "they are dirty then");
    tap_eq(mem_ram_discard(ram, 1, ram->size), -EINVAL, "not beyond the block");
    tap_eq(ftruncate(ram->fd, 0), -1, "nobody can cut the memory off");
    mem_ram_unref(mem_ram_ref(ram));
    tap_eq(ram->references, 1, "references are counted");
    mem_ram_unref(ram);

    ram = must((struct mem_ram_config){
        .name = "prealloc", .size = 64 * MEM_PAGE_SIZE, .shared = true, .prealloc = true});
    tap_ok(ram && resident(ram) == 64, "preallocated memory is there");
    mem_ram_unref(ram);

    tap_ok(!make((struct mem_ram_config){.name = "none"}) && strstr(error, "memory 'none': size 0"),
           "a size of 0 is refused, with a message");
    tap_ok(!make((struct mem_ram_config){.name = "big", .size = UINT64_MAX}) &&
               strstr(error, "memory 'big': size"),
           "so is one beyond 2^63");
    tap_ok(!make((struct mem_ram_config){.name = "more", .size = UINT64_C(1) << 50}) &&
               strstr(error, "more than the host's memory"),
           "more than the host has is refused: %s", error);
    ram = make((struct mem_ram_config){
        .name = "huge", .size = 2 << 20, .shared = true, .huge = true, .prealloc = true});
    tap_ok(ram ? ram->page_size > MEM_PAGE_SIZE : strstr(error, "memory 'huge': ") != NULL,
           "huge pages are given, or refused with a message");
    mem_ram_unref(ram);
}

static void check_files(void)
{
    char path[] = "/tmp/tinamou-ram-XXXXXX";
    int fd = mkstemp(path);
    char got[4] = {0};

    tap_eq(pwrite(fd, "abc", 3, 0), 3, "a file");
    struct mem_ram *ram =
        must((struct mem_ram_config){.name = "rom", .size = 3, .path = path, .readonly = true});

    tap_ok(ram && !memcmp(ram->host, "abc", 4) && ram->readonly, "is mapped read-only");
    tap_eq(mem_ram_discard(ram, 0, MEM_PAGE_SIZE), -EACCES, "and cannot be discarded");
    mem_ram_unref(ram);
    tap_ok(!make((struct mem_ram_config){
               .name = "rom", .size = 8192, .path = path, .readonly = true}) &&
               strstr(error, "has 3 bytes, 8192 are needed"),
           "a file that is too short is named");

    ram = must((struct mem_ram_config){.name = "private", .size = 3, .path = path});
    ram->host[0] = 'x';
    tap_ok(pread(fd, got, 1, 0) == 1 && got[0] == 'a', "a private block leaves the file alone");
    mem_ram_unref(ram);

    ram = must((struct mem_ram_config){.name = "shared",
                                       .size = MEM_PAGE_SIZE,
                                       .path = path,
                                       .offset = MEM_PAGE_SIZE,
                                       .shared = true});
    struct stat st = {0};

    fstat(fd, &st);
    tap_eq(st.st_size, 2 * MEM_PAGE_SIZE, "a shared block lengthens its file");
    ram->host[0] = 'y';
    tap_ok(pread(fd, got, 1, MEM_PAGE_SIZE) == 1 && got[0] == 'y', "and writes it");
    mem_ram_unref(ram);
    tap_ok(!make((struct mem_ram_config){
               .name = "odd", .size = 1, .path = path, .offset = 100, .shared = true}) &&
               strstr(error, "offset 100 is no multiple"),
           "an odd offset is refused");
    ram = must((struct mem_ram_config){
        .name = "folder", .size = MEM_PAGE_SIZE, .path = "/tmp", .shared = true});
    tap_ok(ram != NULL, "a folder gives an unnamed file");
    mem_ram_unref(ram);
    tap_ok(!make((struct mem_ram_config){
               .name = "absent", .size = 1, .path = "/nonexistent/x", .shared = true}) &&
               strstr(error, "memory 'absent': cannot open '/nonexistent/x': No such file"),
           "a path that cannot be is named");
    close(fd);
    unlink(path);
}

/* ---- dirty bits -------------------------------------------------------------------------------
 */

static char hook_log[128];

static void hook(void *opaque, struct mem_ram *ram, uint64_t offset, uint64_t size)
{
    size_t n = strlen(hook_log);

    snprintf(hook_log + n, sizeof(hook_log) - n, "%llu+%llu ",
             (unsigned long long)(offset >> MEM_PAGE_BITS),
             (unsigned long long)(size >> MEM_PAGE_BITS));
}

#define PAGES 200
#define P(n)  ((uint64_t)(n)*MEM_PAGE_SIZE)

static void check_random(struct mem_ram *ram)
{
    bool model[PAGES];
    unsigned wrong = 0;

    mem_dirty_clear(ram, MEM_DIRTY_DISPLAY, 0, ram->size, NULL);
    memset(model, 0, sizeof(model));
    srand(7);
    for (int round = 0; round < 4000; round++) {
        uint64_t offset = (uint64_t)rand() % (P(PAGES) + 100), size = (uint64_t)rand() % P(70);
        uint64_t last = offset + size > P(PAGES) ? P(PAGES) : offset + size, count = 0;
        uint64_t bitmap[PAGES / 64 + 1] = {0};
        bool any = false;
        int what = rand() % 4;

        if (what == 0) {
            count = mem_dirty_clear(ram, MEM_DIRTY_DISPLAY, offset, size, bitmap);
        } else if (what == 1) {
            mem_dirty_set(ram, offset, size);
        } else {
            any = mem_dirty_test(ram, MEM_DIRTY_DISPLAY, offset, size);
        }
        for (uint64_t p = offset / MEM_PAGE_SIZE, n = 0; size && P(p) < last; p++, n++) {
            if (what == 0) {
                wrong += ((bitmap[n / 64] >> n % 64) & 1) != model[p];
                count -= model[p];
                model[p] = false;
            } else if (what == 1) {
                model[p] = true;
            } else if (model[p]) {
                wrong += !any;
                break;
            } else if (P(p + 1) >= last) {
                wrong += any;
            }
        }
        wrong += count != 0;
    }
    tap_eq(wrong, 0, "random ranges are set, cleared and tested as in a model");
}

static void check_dirty(void)
{
    struct mem_ram *ram = must((struct mem_ram_config){.name = "dirty", .size = P(PAGES)});

    tap_eq(mem_dirty_clear(ram, MEM_DIRTY_MIGRATION, 0, UINT64_MAX, NULL), PAGES,
           "all pages start dirty, and no more");
    tap_ok(mem_dirty_test(ram, MEM_DIRTY_DISPLAY, 0, 1) && !mem_dirty_is_set_all(ram, 0),
           "clients are apart");
    mem_dirty_set_code_hook(hook, NULL);
    mem_dirty_set(ram, P(3), 1);
    tap_str(hook_log, "", "a page without code calls nobody");
    tap_ok(mem_dirty_is_set_all(ram, P(3)), "a written page is dirty for all");
    mem_dirty_clear(ram, MEM_DIRTY_CODE, P(62), P(4), NULL);
    mem_dirty_clear(ram, MEM_DIRTY_CODE, P(70), 1, NULL);
    mem_dirty_set(ram, P(62) + 5, P(9));
    tap_str(hook_log, "62+2 64+2 70+1 ", "code that is written is told, by runs");
    mem_dirty_set(ram, P(62), P(9));
    tap_str(hook_log, "62+2 64+2 70+1 ", "once");
    mem_dirty_clear(ram, MEM_DIRTY_MIGRATION, 0, ram->size, NULL);
    mem_dirty_set_bitmap(ram, MEM_DIRTY_MIGRATION, P(63), (uint64_t[]){5}, 3);
    tap_ok(mem_dirty_test(ram, MEM_DIRTY_MIGRATION, P(63), 1) &&
               !mem_dirty_test(ram, MEM_DIRTY_MIGRATION, P(64), 1) &&
               mem_dirty_test(ram, MEM_DIRTY_MIGRATION, P(65), 1),
           "an accelerator's bitmap is taken over");
    mem_dirty_set_code_hook(NULL, NULL);
    check_random(ram);
    mem_ram_unref(ram);
}

int main(void)
{
    check_blocks();
    check_files();
    check_dirty();
    return tap_done();
}
