/* The PLIC: gateways, priorities, thresholds, claims, and what a hostile guest may try. */
#include "hw/intc/plic.h"

#include "tests/unit/hw-bench.h"

#include <errno.h>

enum { BASE = 0xc000000, THRESHOLD = BASE + 0x200000, CLAIM = THRESHOLD + 4 };

static uint32_t priority_at(unsigned source)
{
    return BASE + 4 * source;
}

static uint32_t enable_at(unsigned context, unsigned word)
{
    return BASE + 0x2000 + 0x80 * context + 4 * word;
}

static void set_line(struct plic *plic, unsigned source, bool level)
{
    plic->in[source].handler(plic->in[source].opaque, plic->in[source].n, level);
}

static void check_gateway(struct plic *plic, const struct bench_line *m)
{
    bench_write(priority_at(10), 4, 3);
    bench_write(enable_at(0, 0), 4, 1u << 10);
    tap_ok(!m->level, "nothing pends, nothing is signalled");
    set_line(plic, 10, true);
    tap_eq(bench_read(BASE + 0x1000, 4), 1u << 10, "a high line pends");
    tap_ok(m->level, "and the context hears of it");
    tap_eq(bench_read(CLAIM, 4), 10, "it is claimed");
    tap_ok(!m->level, "a claim takes the signal away");
    tap_eq(bench_read(CLAIM, 4), 0, "there is nothing else to be claimed");
    tap_eq(bench_read(BASE + 0x1000, 4), 0,
           "a claimed source does not pend while its line is high");
    bench_write(CLAIM, 4, 10);
    tap_ok(m->level, "a line that is still high pends again at completion");
    tap_eq(bench_read(CLAIM, 4), 10, "and is claimed again");
    set_line(plic, 10, false);
    bench_write(CLAIM, 4, 10);
    tap_ok(!m->level, "a line that fell does not");
    set_line(plic, 10, true);
    set_line(plic, 10, false);
    tap_ok(m->level, "a request that was forwarded stays when its line falls");
    tap_eq(bench_read(CLAIM, 4), 10, "and can be claimed");
    set_line(plic, 10, true);
    set_line(plic, 10, false);
    set_line(plic, 10, true);
    tap_ok(!m->level, "edges of a claimed source are not counted");
    bench_write(CLAIM, 4, 10);
    tap_ok(m->level, "the level at completion is what counts");
    set_line(plic, 10, false);
    bench_read(CLAIM, 4);
    bench_write(CLAIM, 4, 10);
}

static void check_priorities(struct plic *plic, const struct bench_line *m)
{
    bench_write(priority_at(10), 4, 0);
    bench_write(enable_at(0, 0), 4, UINT32_MAX);
    bench_write(enable_at(0, 1), 4, UINT32_MAX);
    bench_write(enable_at(0, 2), 4, UINT32_MAX);
    tap_eq(bench_read(enable_at(0, 0), 4), 0xfffffffe, "source 0 cannot be enabled");
    bench_write(priority_at(0), 4, 7);
    tap_eq(bench_read(priority_at(0), 4), 0, "nor has it a priority");
    bench_write(priority_at(3), 4, 5);
    bench_write(priority_at(40), 4, 6);
    bench_write(priority_at(95), 4, 6);
    set_line(plic, 3, true);
    set_line(plic, 40, true);
    set_line(plic, 95, true);
    set_line(plic, 10, true);
    bench_write(THRESHOLD, 4, 6);
    tap_ok(!m->level, "priorities up to the threshold are masked");
    bench_write(THRESHOLD, 4, 5);
    tap_ok(m->level, "one above it is not");
    tap_eq(bench_read(CLAIM, 4), 40, "highest priority first, of equal ones the lower number");
    tap_eq(bench_read(CLAIM, 4), 95, "then the other");
    tap_ok(!m->level, "what remains is below the threshold");
    tap_eq(bench_read(CLAIM, 4), 3, "yet can be claimed");
    tap_eq(bench_read(CLAIM, 4), 0, "priority 0 never is");
    bench_write(priority_at(10), 4, 0xffffffff);
    tap_eq(bench_read(priority_at(10), 4), 7, "priorities have three bits");
    tap_ok(m->level, "a priority that rises above the threshold signals");
    bench_write(enable_at(0, 0), 4, 0);
    tap_ok(!m->level, "disabling takes it back");
    bench_write(CLAIM, 4, 3);
    bench_write(enable_at(0, 0), 4, 1u << 3);
    set_line(plic, 3, false);
    tap_eq(bench_read(CLAIM, 4), 0, "completing what is not enabled does nothing");
    bench_write(CLAIM, 4, 3);
    set_line(plic, 3, true);
    tap_eq(bench_read(CLAIM, 4), 3, "then it does");
}

static void check_contexts(struct plic *plic, struct bench_line *s1)
{
    tap_eq(plic_context_of(plic, 0, 'M'), 0, "context of hart 0, M");
    tap_eq(plic_context_of(plic, 1, 'S'), 3, "context of hart 1, S");
    tap_eq((unsigned)plic_context_of(plic, 1, 'U'), -1u, "there is no U");
    tap_eq((unsigned)plic_context_of(plic, 2, 'M'), -1u, "nor hart 2");
    bench_write(priority_at(33), 4, 1);
    bench_write(enable_at(3, 1), 4, 2);
    set_line(plic, 33, true);
    tap_ok(s1->level, "the last context is signalled");
    tap_eq(bench_read(CLAIM + 0x3000, 4), 33, "and claims at its own address");
    bench_write(CLAIM + 0x3000, 4, 33);
    set_line(plic, 33, false);
}

static void check_hostile(struct plic *plic, const struct bench_line *m)
{
    static const uint32_t completions[] = {0, 1, 95, 96, 1023, 1024, UINT32_MAX};
    struct mem_attrs debug = {.debug = 1};
    uint64_t value;

    for (unsigned i = 0; i < sizeof(completions) / sizeof(completions[0]); i++) {
        bench_write(CLAIM, 4, completions[i]);
    }
    tap_ok(true, "completions of anything are survived");
    tap_eq(bench_read(priority_at(96), 4), 0, "there is no source 96");
    bench_write(priority_at(96), 4, 7);
    tap_eq(bench_read(priority_at(96), 4), 0, "and it cannot be made");
    bench_write(enable_at(4, 0), 4, UINT32_MAX);
    tap_eq(bench_read(enable_at(4, 0), 4), 0, "there is no context 4");
    bench_write(enable_at(0, 3), 4, UINT32_MAX);
    tap_eq(bench_read(enable_at(0, 3), 4), 0, "there are three words of enable bits");
    tap_eq(bench_read(BASE + 0x5ffffc, 4), 0, "the last word of the aperture reads as 0");
    bench_write(BASE + 0x5ffffc, 4, 1);
    bench_write(BASE + 0x1000, 4, UINT32_MAX);
    tap_eq(bench_read(BASE + 0x1000, 4) & 1, 0, "pending bits are read-only");
    tap_ok(mem_access_load(&bench_space, mem_gpa(BASE), 1, &value, MEM_ATTRS_NONE) == -EINVAL,
           "bytes are refused");
    for (unsigned source = 1; source <= 95; source++) {
        set_line(plic, source, false);
    }
    hw_reset_device(&plic->device, true);
    bench_write(priority_at(5), 4, 1);
    bench_write(enable_at(0, 0), 4, 1u << 5);
    set_line(plic, 5, true);
    tap_ok(!mem_access_load(&bench_space, mem_gpa(CLAIM), 4, &value, debug) && value == 5,
           "a debugger sees what could be claimed");
    tap_ok(m->level, "and does not claim it");
}

static void check_life(struct plic *plic, struct bench_line *m)
{
    struct plic *other = bench_create(&plic_type, "hart-config=MS,,MS");
    struct plic *small = bench_create(&plic_type, "hart-config=MS");
    struct bench_line line;
    char error[256];

    bench_realize(other);
    bench_realize(small);
    bench_put(0x4000000, &other->mmio);
    tap_eq(bench_move(plic_type.state, plic, other), 0, "state is saved and loaded");
    bench_watch(&line, &other->out[0]);
    tap_ok(line.level, "the copy signals what the original did");
    tap_eq(bench_read(0x4000000 + 0x200004, 4), 5, "and claims it");
    tap_eq(-bench_move(plic_type.state, plic, small), EINVAL, "another machine's state is refused");
    plic->pending[0] |= 1;
    tap_eq(-bench_move(plic_type.state, plic, other), EINVAL, "source 0 cannot pend in a state");
    plic->pending[0] = 1u << 5;
    hw_reset_device(&plic->device, false);
    tap_ok(!m->level, "reset lowers the outputs");
    tap_eq(bench_read(BASE + 0x1000, 4), 1u << 5, "a line that stays high pends after it");
    mem_region_remove(&plic->mmio);
    hw_device_destroy(&plic->device);
    mem_region_remove(&other->mmio);
    hw_device_destroy(&other->device);
    hw_device_destroy(&small->device);
    for (unsigned i = 0; i < 4; i++) {
        static const char *const bad[] = {"MX", "MS,", "MM", ","};

        small = (struct plic *)hw_device_create(&plic_type, NULL);
        hw_device_set(&small->device, "hart-config", bad[i], error, sizeof(error));
        tap_ok(hw_device_realize(&small->device, NULL, false, error, sizeof(error)) == -EINVAL,
               "hart-config=%s is refused", bad[i]);
        hw_device_destroy(&small->device);
    }
}

int main(void)
{
    struct plic *plic;
    struct bench_line m, s1;

    bench_init();
    hw_lock_acquire();
    plic = bench_create(&plic_type, "hart-config=MS,,MS");
    bench_realize(plic);
    bench_put(BASE, &plic->mmio);
    bench_watch(&m, &plic->out[0]);
    bench_watch(&s1, &plic->out[3]);
    check_gateway(plic, &m);
    check_priorities(plic, &m);
    check_contexts(plic, &s1);
    check_hostile(plic, &m);
    check_life(plic, &m);
    hw_lock_release();
    return tap_done();
}
