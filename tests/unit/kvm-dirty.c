/* Logs of written pages, by bitmaps and by rings. */
#include "tests/unit/kvm-bench.h"

enum { HIGH = 16 << 20, HIGH_SIZE = 16 << 20, PAGES = HIGH_SIZE / 4096 };

static const char *options; /* of the VM at hand */

/* Clears a client's bits of a block, after what is known of them was brought in; which pages. */
static unsigned take(struct mem_ram *ram, enum mem_dirty_client client, uint64_t *bitmap)
{
    memset(bitmap, 0, ram->pages / 8);
    mem_space_log_sync(ram);
    return (unsigned)mem_dirty_clear(ram, client, 0, ram->size, bitmap);
}

static bool has(const uint64_t *bitmap, unsigned page)
{
    return bitmap[page / 64] >> page % 64 & 1;
}

static void check_pages(void)
{
    uint64_t bitmap[BENCH_RAM / 4096 / 64];
    struct mem_region alias = {0};
    unsigned count;

    if (!bench_open_listener(options)) {
        return;
    }
    bench_poke(0x50000, 4, 1);
    mem_space_log_start(bench.ram, MEM_DIRTY_DISPLAY);
    take(bench.ram, MEM_DIRTY_DISPLAY, bitmap);
    bench_poke(0x60ffe, 4, 1);
    bench_poke(0x9f000, 1, 1);
    count = take(bench.ram, MEM_DIRTY_DISPLAY, bitmap);
    /* beside them the listener's mailbox (page 3), stack (7), and what we have it call (4) */
    tap_ok(has(bitmap, 0x60) && has(bitmap, 0x61) && has(bitmap, 0x9f) && has(bitmap, 3) &&
               count <= 7,
           "%s: pages that were written", options);
    take(bench.ram, MEM_DIRTY_DISPLAY, bitmap);
    bench_poke(0x60000, 4, 2);
    bench_peek(0x62000);
    take(bench.ram, MEM_DIRTY_DISPLAY, bitmap);
    tap_ok(has(bitmap, 0x60) && !has(bitmap, 0x61) && !has(bitmap, 0x62) && !has(bitmap, 0x9f),
           "the same again, and not what was only read");

    mem_region_init_alias(&alias, "alias", &bench.ram_region, 0x30000, 0x2000);
    mem_region_add(&bench.root, 0xa0000, &alias, 1);
    take(bench.ram, MEM_DIRTY_DISPLAY, bitmap);
    bench_poke(0xa1000, 4, 3);
    bench_poke(0x50000, 4, 3);
    take(bench.ram, MEM_DIRTY_DISPLAY, bitmap);
    tap_ok(has(bitmap, 0x31) && has(bitmap, 0x50) && !has(bitmap, 0xa1),
           "a write through an alias is one to what it shows");
    bench_poke(0xa0000, 4, 3);
    bench_poke(0x51000, 4, 3);
    mem_region_remove(&alias);
    take(bench.ram, MEM_DIRTY_DISPLAY, bitmap);
    tap_ok(has(bitmap, 0x30) && has(bitmap, 0x51), "what was written before a slot went");
    take(bench.ram, MEM_DIRTY_DISPLAY, bitmap);
    bench_poke(0x52000, 4, 3);
    take(bench.ram, MEM_DIRTY_DISPLAY, bitmap);
    tap_ok(has(bitmap, 0x52) && !has(bitmap, 0x51), "the new slot is logged too");

    mem_space_log_stop(bench.ram, MEM_DIRTY_DISPLAY);
    take(bench.ram, MEM_DIRTY_DISPLAY, bitmap);
    bench_poke(0x53000, 4, 3);
    count = take(bench.ram, MEM_DIRTY_DISPLAY, bitmap);
    tap_eq(count, 0, "nothing is logged when nobody wants it");
    mem_space_log_start(bench.ram, MEM_DIRTY_MIGRATION);
    take(bench.ram, MEM_DIRTY_MIGRATION, bitmap);
    bench_poke(0x54000, 4, 3);
    take(bench.ram, MEM_DIRTY_MIGRATION, bitmap);
    tap_ok(has(bitmap, 0x54) && !has(bitmap, 0x53), "and again for another client");
    mem_space_log_stop(bench.ram, MEM_DIRTY_MIGRATION);
    bench_close();
}

/* ---- more memory, and vCPUs in 32-bit mode ---- */

static struct {
    struct mem_ram *ram;
    struct mem_region region;
} high;

static bool open_high(unsigned cpus)
{
    struct mem_ram_config config = {.name = "high", .size = HIGH_SIZE};
    char error[256];

    if (!bench_open(options, cpus)) {
        return false;
    }
    memset(&high, 0, sizeof(high));
    if (mem_ram_create(&high.ram, &config, error, sizeof(error)) ||
        mem_region_init_ram(&high.region, "high", high.ram, 0, HIGH_SIZE, false)) {
        exit(1);
    }
    mem_region_add(&bench.root, HIGH, &high.region, 0);
    return true;
}

static void close_high(void)
{
    vcpu_pause_all(NULL, NULL);
    mem_region_retire(&high.region, NULL, NULL);
    bench_close();
    mem_ram_unref(high.ram);
}

/* More pages than a ring has room for. */
static void check_many(void)
{
    static const uint8_t code[] = {
        0xbf, 0x00, 0x00, 0x00, 0x01,       /* mov edi, HIGH */
        0xff, 0x07,                         /* next: inc dword [edi] */
        0x81, 0xc7, 0x00, 0x10, 0x00, 0x00, /* add edi, 0x1000 */
        0x81, 0xff, 0x00, 0x00, 0x00, 0x02, /* cmp edi, HIGH + HIGH_SIZE */
        0x72, 0xf0, 0xe6, 0xf4, 0xf4,       /* jb next; out 0xf4, al; hlt */
    };
    uint64_t bitmap[PAGES / 64];

    if (!open_high(1)) {
        return;
    }
    bench_code(0, code, sizeof(code));
    bench_reset_flat(0, BENCH_CODE);
    mem_space_log_start(high.ram, MEM_DIRTY_MIGRATION);
    take(high.ram, MEM_DIRTY_MIGRATION, bitmap);
    if (bench_run(1)) {
        tap_eq(take(high.ram, MEM_DIRTY_MIGRATION, bitmap), PAGES, "all of 4096 pages are written");
        tap_eq(take(high.ram, MEM_DIRTY_MIGRATION, bitmap), 0, "once");
    }
    tap_note("a ring was full %llu times", (unsigned long long)BENCH_EXITS(0, DIRTY_RING_FULL));
    close_high();
}

/*
 * Two clients copy memory at the same time, while vCPUs write to it: what the copies lack in the
 * end was not logged.
 */
struct client {
    enum mem_dirty_client client;
    uint8_t *copy;
    unsigned passes, copied; /* pages */
};

static _Atomic bool finished;

static void copy_pass(struct client *c)
{
    uint64_t bitmap[PAGES / 64];

    c->copied += take(high.ram, c->client, bitmap);
    for (unsigned page = 0; page < PAGES; page++) {
        if (has(bitmap, page)) {
            memcpy(c->copy + page * 4096, high.ram->host + page * 4096, 4096);
        }
    }
    c->passes++;
}

static void *copy_main(void *arg)
{
    while (!finished) {
        copy_pass(arg);
    }
    return NULL;
}

enum { SWEEPS = 15 };

static unsigned one_sweep(struct client clients[2])
{
    pthread_t threads[2];
    unsigned wrong = 0;

    finished = false;
    for (unsigned n = 0; n < 2; n++) {
        pthread_create(&threads[n], NULL, copy_main, &clients[n]);
    }
    __atomic_store_n(bench.ram->host + 0x3000, 1, __ATOMIC_SEQ_CST);
    if (!bench_wait(&bench.ended)) {
        tap_ok(false, "the guest ends");
    }
    finished = true;
    for (unsigned n = 0; n < 2; n++) {
        pthread_join(threads[n], NULL);
        copy_pass(&clients[n]);
        wrong += memcmp(clients[n].copy, high.ram->host, HIGH_SIZE) != 0;
    }
    return wrong;
}

static void check_copies(void)
{
    /* Sweeps through all pages; writes ten times to each. */
    static const uint8_t code[] = {
        0xa0, 0x00, 0x30, 0x00, 0x00, 0x84, 0xc0, /* wait: mov al, [0x3000]; test al, al */
        0x74, 0xf7,                               /* jz wait */
        0xc6, 0x05, 0x00, 0x30, 0x00, 0x00, 0x00, /* mov byte [0x3000], 0 */
        0xbf, 0x00, 0x00, 0x00, 0x01,             /* mov edi, HIGH */
        0xb9, 0x0a, 0x00, 0x00, 0x00,             /* next: mov ecx, 10 */
        0xff, 0x07, 0xe2, 0xfc,                   /* again: inc dword [edi]; loop again */
        0x81, 0xc7, 0x00, 0x10, 0x00, 0x00,       /* add edi, 0x1000 */
        0x81, 0xff, 0x00, 0x00, 0x00, 0x02,       /* cmp edi, HIGH + HIGH_SIZE */
        0x72, 0xe9,                               /* jb next */
        0xe6, 0xf4, 0xeb, 0xd0,                   /* out 0xf4, al; jmp wait */
    };
    struct client clients[2] = {{.client = MEM_DIRTY_MIGRATION}, {.client = MEM_DIRTY_DISPLAY}};
    unsigned wrong = 0;

    if (!open_high(1)) {
        return;
    }
    bench_code(0, code, sizeof(code));
    bench_reset_flat(0, BENCH_CODE);
    for (unsigned n = 0; n < 2; n++) {
        clients[n].copy = calloc(1, HIGH_SIZE);
        mem_space_log_start(high.ram, clients[n].client);
        copy_pass(&clients[n]);
    }
    bench_start();
    for (unsigned n = 0; n < SWEEPS; n++) {
        wrong += one_sweep(clients);
    }
    tap_eq(wrong, 0, "two copies, made while the guest writes, are exact in the end");
    tap_eq(high.ram->host[HIGH_SIZE - 4096], 10 * SWEEPS, "it has written");
    tap_ok(clients[0].passes > 2 * SWEEPS && clients[1].passes > 2 * SWEEPS &&
               clients[0].copied > PAGES * (SWEEPS + 1) && clients[1].copied > PAGES * (SWEEPS + 1),
           "the copies took many passes");
    tap_note("%u and %u passes, %u and %u pages", clients[0].passes, clients[1].passes,
             clients[0].copied, clients[1].copied);
    free(clients[0].copy);
    free(clients[1].copy);
    close_high();
}

/* The most that a ring may have, in bytes; 0: there are none. */
static int ring_limit(void)
{
    int limit;

    kvm.device = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (kvm.device < 0) {
        return 0;
    }
    limit = kvm_check_extension(KVM_CAP_DIRTY_LOG_RING_ACQ_REL);
    close(kvm.device);
    kvm.device = -1;
    return limit;
}

int main(void)
{
    int limit = ring_limit();

    alarm(240);
    options = "kernel-irqchip=off";
    check_pages();
    check_many();
    check_copies();
    if (limit < 65536 * (int)sizeof(struct kvm_dirty_gfn)) {
        tap_skip("rings of written pages", "no usable /dev/kvm with dirty rings");
        return tap_done();
    }
    /* So large since a KVM that emulates many instructions in a row looks too late whether a ring
     * is full, and each of its writes takes an entry. */
    options = "kernel-irqchip=off,dirty-ring-size=65536";
    check_pages();
    check_copies();
    options = "kernel-irqchip=off,dirty-ring-size=4096";
    check_many();
    return tap_done();
}
