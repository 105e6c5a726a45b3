/*
 * The saved state of a hart: random states survive, with all that is derived from them; and what
 * could not have come about is refused.
 */
#include <errno.h>
#include "target/riscv/model.h"
#include "target/riscv/random.h"
#include "tests/unit/riscv-hart.h"
#include "util/state.h"

#define EVENT_FLAGS (UINT64_C(0xf) << 60)

static struct rv_random rnd = {577};
static char error[256];

static uint64_t draw(uint64_t n)
{
    return rv_random_next(&rnd) % n;
}

static struct state_buffer save(void)
{
    struct state_buffer buffer = {0};

    if (state_save(&riscv_state, hart, &buffer, error, sizeof(error))) {
        tap_ok(false, "saves: %s", error);
    }
    return buffer;
}

static int load(const struct state_buffer *buffer)
{
    size_t used;
    int err =
        state_load(&riscv_state, hart, buffer->data, buffer->size, &used, error, sizeof(error));

    return err ? err : used == buffer->size ? 0 : -EMSGSIZE;
}

static bool equal(const struct state_buffer *a, const struct state_buffer *b)
{
    return a->size == b->size && memcmp(a->data, b->data, a->size) == 0;
}

/* Whatever a guest may have made of the hart. */
static void randomize(void)
{
    const struct rv_ext_set *ext = &hart->ext;
    uint8_t privs[3] = {RV_PRIV_M};
    unsigned count = 1;

    if (rv_has(ext, RV_EXT_u)) {
        privs[count++] = RV_PRIV_U;
    }
    if (rv_has(ext, RV_EXT_s)) {
        privs[count++] = RV_PRIV_S;
    }
    for (unsigned n = 1; n < 32; n++) {
        hart->x[n] = rv_random_next(&rnd);
    }
    for (unsigned n = 0; n < 32; n++) {
        hart->f[n] = rv_random_next(&rnd);
    }
    hart->pc = rv_random_next(&rnd) & ~(rv_has(ext, RV_EXT_c) ? UINT64_C(1) : 3);
    if (rv_has(ext, RV_EXT_f)) {
        hart->fflags = (uint32_t)draw(32);
        hart->frm = (uint32_t)draw(8);
    }
    hart->reservation = rv_random_next(&rnd) & ~UINT64_C(7);
    for (unsigned i = 0; i < 3000; i++) {
        const struct rv_csr *csr = rv_csr_find((unsigned)draw(4096));
        uint64_t value = rv_random_next(&rnd);

        if (!csr || !rv_has(&hart->ext, (enum rv_ext)csr->ext) || csr->number >> 10 == 3) {
            continue;
        }
        if (csr->number >> 4 == MHPMEVENT3 >> 4 && draw(4)) {
            value = (value & EVENT_FLAGS) | (1 + draw(2)); /* one that counts */
        }
        if (csr->number == MSECCFG && draw(4)) {
            continue; /* or all would be locked soon */
        }
        rv_csr_write(hart, csr, value, UINT64_MAX);
        hart_advance(hart_now + (int64_t)draw(1000));
    }
    for (unsigned line = 0; line < 16; line++) {
        if (RV_IRQ_LINES & RV_IRQ_BIT(line)) {
            cpu_irq_set(&hart->sys.wiring.lines, line, draw(2));
        }
    }
    hart_set_priv((enum rv_priv)privs[draw(count)]);
}

/* ---- what survives --------------------------------------------------------------------------- */

static const char *const models[] = {"rv64", "rva22s64", "rv64i", "rv64,s=off", "rv64gc,u=off"};

static void round_trips(void)
{
    unsigned wrong = 0, counting = 0;

    for (unsigned i = 0; i < 300; i++) {
        const char *model = models[i % BITS_ARRAY_SIZE(models)];
        struct state_buffer first, second;
        struct riscv_cpu before;
        int64_t deadlines[2];

        hart_now = 1000000;
        hart_create(model);
        randomize();
        first = save();
        before = *hart;
        for (unsigned n = 0; n < RV_COUNTERS; n++) {
            counting += n > 2 && before.sys.counter[n].since >= 0;
        }
        deadlines[0] = hart_timers[0].deadline;
        deadlines[1] = hart_timers[1].deadline;
        hart_create(model);
        randomize();
        hart_now = before.sys.counter[0].since < 0 ? hart_now : before.sys.counter[0].since;
        hart_flushes = 0;
        if (load(&first)) {
            tap_note("%s", error);
            wrong++;
        }
        second = save();
        wrong += !equal(&first, &second);
        wrong += hart->reservation != 1 || hart->common.mode != before.common.mode;
        wrong += memcmp(hart->sys.pmp, before.sys.pmp, sizeof(before.sys.pmp)) != 0;
        wrong += hart_flushes != 1;
        if (before.sys.counter[0].since >= 0) { /* else the clock is another one */
            wrong += deadlines[0] > hart_now && hart_timers[0].deadline != deadlines[0];
            wrong += hart_timers[1].deadline != deadlines[1];
            wrong += hart->sys.overflow != before.sys.overflow;
            wrong += hart->sys.stimer_due !=
                     (before.sys.menvcfg & RV_ENVCFG_STCE && rv_stimecmp_pending(hart));
        }
        state_buffer_free(&first);
        state_buffer_free(&second);
    }
    tap_eq(wrong, 0, "random states survive");
    tap_ok(counting > 100, "with %u counters that count", counting);
}

static void going_on(void)
{
    struct state_buffer buffer;
    uint64_t value;

    hart_create("rv64");
    hart_now = 5000;
    hart_write(MENVCFG, RV_ENVCFG_STCE);
    hart_write(STIMECMP, 200);
    hart_write(MHPMEVENT3, 1);
    hart_write(MHPMCOUNTER3, UINT64_MAX - 1000);
    hart_write(MCOUNTINHIBIT, 1 << 4);
    hart_advance(5500);
    buffer = save();
    value = hart_read(MCYCLE);
    hart_create("rv64");
    tap_eq(load(&buffer), 0, "a hart with timers");
    tap_eq(hart_read(MCYCLE), value, "counters show what they did");
    hart_advance(6000);
    tap_eq(hart_read(MCYCLE), value + 500, "and count on");
    tap_ok(hart_timers[0].deadline == 20000 && hart_timers[1].deadline == 5000 + 1001,
           "its timers are armed: %lld, %lld", (long long)hart_timers[0].deadline,
           (long long)hart_timers[1].deadline);
    hart_advance(20000);
    tap_ok((hart_read(MIP) & (RV_IRQ_BIT(RV_IRQ_STI) | RV_IRQ_BIT(RV_IRQ_LCOFI))) ==
               (RV_IRQ_BIT(RV_IRQ_STI) | RV_IRQ_BIT(RV_IRQ_LCOFI)),
           "and fire");
    state_buffer_free(&buffer);
}

/* ---- what is refused ------------------------------------------------------------------------- */

/* Whether a state in which one thing is wrong is refused. */
#define REFUSES(what, ...)                                    \
    do {                                                      \
        struct state_buffer buffer;                           \
        struct rv_system *s;                                  \
                                                              \
        hart_create("rv64,c=off");                            \
        s = &hart->sys;                                       \
        (void)s;                                              \
        __VA_ARGS__;                                          \
        buffer = save();                                      \
        hart_create("rv64,c=off");                            \
        tap_ok(load(&buffer) == -EINVAL, "refuses %s", what); \
        state_buffer_free(&buffer);                           \
    } while (0)

static void impossible(void)
{
    struct state_buffer untouched;

    hart_create("rv64,c=off");
    untouched = save();
    tap_eq(load(&untouched), 0, "a state in which nothing is wrong");
    state_buffer_free(&untouched);
    REFUSES("x0 that is not 0", hart->x[0] = 1);
    REFUSES("an odd pc", hart->pc = 1);
    REFUSES("a pc between words, without C", hart->pc = 2);
    REFUSES("flags that there are not", hart->fflags = 32);
    REFUSES("a rounding mode of 4 bits", hart->frm = 8);
    REFUSES("privilege 2", s->priv = 2);
    REFUSES("privilege 4", s->priv = 4);
    REFUSES("MPP 2", s->mstatus |= UINT64_C(2) << 11);
    REFUSES("SD without FS", s->mstatus |= RV_MSTATUS_SD);
    REFUSES("FS without SD", s->mstatus |= RV_MSTATUS_FS);
    REFUSES("another UXL", s->mstatus ^= RV_MSTATUS_UXL);
    REFUSES("a bit of mstatus that is not", s->mstatus |= 1);
    REFUSES("medeleg", s->medeleg = 1 << 11);
    REFUSES("mideleg", s->mideleg = 1 << 7);
    REFUSES("mie", s->mie = 1);
    REFUSES("mip", s->mip = 1 << 7);
    REFUSES("mip.STIP with Sstc", s->menvcfg |= RV_ENVCFG_STCE; s->mip = 1 << 5);
    REFUSES("lines", s->wiring.lines.level = 1);
    REFUSES("mtvec", s->mtvec = 2);
    REFUSES("stvec", s->stvec = 3);
    REFUSES("mepc", s->mepc = 2);
    REFUSES("sepc", s->sepc = 1);
    REFUSES("menvcfg", s->menvcfg = 2);
    REFUSES("senvcfg", s->senvcfg = RV_ENVCFG_STCE);
    REFUSES("mcounteren", s->mcounteren = UINT64_C(1) << 32);
    REFUSES("scounteren", s->scounteren = UINT64_C(1) << 31);
    REFUSES("satp", s->satp = UINT64_C(1) << 60);
    REFUSES("mseccfg", s->mseccfg = 8);
    REFUSES("pmpcfg", s->pmpcfg[3] = 0x20);
    REFUSES("W without R", s->pmpcfg[15] = 2);
    REFUSES("pmpaddr", s->pmpaddr[0] = UINT64_C(1) << 54);
    REFUSES("a counter that there is not", s->counter[20].value = 5);
    REFUSES("an event of one", s->mhpmevent[20] = 1);
    REFUSES("an event", s->mhpmevent[3] = UINT64_C(1) << 56);
    REFUSES("an event of cycle", s->mhpmevent[0] = 1);
}

static void other_models(void)
{
    struct state_buffer buffer;

    hart_create("rv64");
    buffer = save();
    hart_create("rv64,zba=off");
    tap_ok(load(&buffer) == -EINVAL, "refuses another model");
    state_buffer_free(&buffer);
    hart_create("rv64,smepmp=off");
    hart->sys.mseccfg = 1;
    buffer = save();
    hart_create("rv64,smepmp=off");
    tap_ok(load(&buffer) == -EINVAL, "refuses registers of extensions that it has not");
    state_buffer_free(&buffer);
}

/* Streams with wrong bytes: refused, or a state like any other. */
static void hostile(void)
{
    struct state_buffer good, bad;
    unsigned taken = 0, refused = 0, wrong = 0;

    hart_create("rv64");
    randomize();
    good = save();
    for (unsigned i = 0; i < 20000; i++) {
        uint8_t *data = malloc(good.size);

        memcpy(data, good.data, good.size);
        for (uint64_t n = 1 + draw(3); n > 0; n--) {
            data[draw(good.size)] = draw(2) ? (uint8_t)draw(256) : (uint8_t)(1u << draw(8));
        }
        bad = (struct state_buffer){data, draw(8) ? good.size : draw(good.size), good.size};
        hart_create("rv64");
        if (load(&bad)) {
            refused++;
        } else {
            struct state_buffer again = save();

            taken++;
            wrong += load(&again) != 0 || rv_mode_priv(hart->common.mode) != hart->sys.priv;
            state_buffer_free(&again);
        }
        free(data);
    }
    state_buffer_free(&good);
    tap_eq(wrong, 0, "a state that is taken is a good one");
    tap_ok(taken > 1000 && refused > 1000, "of wrong streams %u were taken, %u refused", taken,
           refused);
}

int main(void)
{
    tap_ok(riscv64_target_ops.state == &riscv_state, "the target has a state table");
    round_trips();
    going_on();
    impossible();
    other_models();
    hostile();
    hart_destroy();
    return tap_done();
}
