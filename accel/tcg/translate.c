/*
 * From a guest pc to a unit in the cache.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "accel/tcg/internal.h"
#include "accel/tcg/perf.h"
#include "build/config.h"
#include "jit/ir/text.h"
#include "jit/ir/verify.h"
#include "jit/opt/dce.h"
#include "mem/guest.h"
#include "mem/types.h"
#include "util/disas.h"
#include "util/log.h"

static uint64_t now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* System mode: within the page of the unit's start, and the one behind if that is there. */
static unsigned fetch_host(const struct tcg_where *where, uint64_t pc, void *bytes, unsigned length)
{
    uint64_t base = where->pc & ~(MEM_PAGE_SIZE - 1), offset = pc - base;
    unsigned page = (unsigned)(offset >> MEM_PAGE_BITS), left;

    if (offset >= 2 * MEM_PAGE_SIZE || !where->host[page]) {
        return 0;
    }
    offset &= MEM_PAGE_SIZE - 1;
    left = (unsigned)(MEM_PAGE_SIZE - offset);
    length = length < left ? length : left;
    memcpy(bytes, where->host[page] + offset, length);
    return length;
}

unsigned tcg_fetch(void *opaque, uint64_t pc, void *bytes, unsigned length)
{
    const struct tcg_where *where = opaque;
    unsigned n;

    if (where && where->host[0]) {
        return fetch_host(where, pc, bytes, length);
    }
    n = tcg.config.fetchable ? tcg.config.fetchable(pc, length) : length;
    if (n == 0 || mem_guest_read(bytes, pc, n) < 0) {
        return 0;
    }
    return n;
}

static void log_write(void *opaque, const char *text, size_t length)
{
    (void)opaque;
    log_text(text, length);
}

void tcg_log_ir(const struct ir_unit *unit, const char *title)
{
    log_printf("%s\n", title);
    ir_print(unit, log_write, NULL);
    log_printf("\n");
}

static void log_guest(struct cpu *cpu, const struct cpu_translate *request)
{
    uint8_t bytes[1024];
    uint64_t pc = request->pc;
    unsigned length = (unsigned)(request->end - request->pc), at = 0;
    char text[128];

    log_printf("IN: %#llx\n", (unsigned long long)pc);
    if (length > sizeof(bytes)) {
        length = sizeof(bytes);
    }
    length = tcg_fetch(request->opaque, pc, bytes, length);
    while (at < length) {
        unsigned n =
            cpu->ops->disassemble(cpu, pc + at, bytes + at, length - at, text, sizeof(text));
        char hex[3 * 16 + 1];
        unsigned used = 0;

        for (unsigned i = 0; i < n && at + i < length && i < 16; i++) {
            used +=
                (unsigned)snprintf(hex + used, sizeof(hex) - used, "%02x", bytes[at + n - 1 - i]);
        }
        log_printf("0x%08" PRIx64 ":  %-10s %s\n", pc + at, hex, text);
        at += n;
    }
    log_printf("\n");
}

static void report_violation(void *opaque, ir_ref op, const char *text)
{
    (void)opaque;
    log_printf("op %u: %s\n", op, text);
}

void tcg_build_locked(struct cpu *cpu, struct cpu_translate *request)
{
    ir_build_begin(&tcg.builder, &tcg.unit, &tcg.options, cpu->ops->ir, request->pc);
    cpu->ops->translate(&tcg.builder, request);
    tcg.stats.ir_ops += tcg.unit.ins_count;
    if (log_enabled(LOG_IN_ASM)) {
        log_guest(cpu, request);
    }
    if (log_enabled(LOG_OP)) {
        tcg_log_ir(&tcg.unit, "OP:");
    }
    /* the host back end drops dead ops as it goes; the pass is for the interpreter and the log */
    if (tcg.options.dce && (tcg.interp || log_enabled(LOG_OP_OPT))) {
        jit_opt_dce(&tcg.unit);
    }
    if (log_enabled(LOG_OP_OPT)) {
        tcg_log_ir(&tcg.unit, "OP after optimisation:");
    }
    if ((CONFIG_DEBUG || log_enabled(LOG_OP | LOG_OP_OPT)) &&
        ir_verify(&tcg.unit, report_violation, NULL)) {
        tcg_log_ir(&tcg.unit, "this unit is not well-formed:");
        abort();
    }
}

static const void *reloc_target(const struct ir_target *target, const struct jit_reloc *reloc)
{
    switch (reloc->kind) {
    case JIT_RELOC_HELPER:
        return target->helpers[reloc->index].fn;
    case JIT_RELOC_THUNK:
        return tcg_code_rx + tcg.thunk[reloc->index];
    default:
        return jit_x86_runtime((enum jit_runtime)reloc->index);
    }
}

/* Copies the code into the buffer at offset `at`, and makes its references good. */
static void install(const struct ir_target *target, uint32_t at, uint32_t first_link)
{
    const struct jit_code *code = &tcg.code;

    for (uint32_t i = 0; i < code->reloc_count; i++) {
        const struct jit_reloc *reloc = &code->relocs[i];
        uint32_t value;

        if (reloc->kind == JIT_RELOC_LINK_ID) {
            value = first_link + reloc->index;
        } else {
            value = (uint32_t)((const uint8_t *)reloc_target(target, reloc) -
                               (tcg_code_rx + at + reloc->offset + 4));
        }
        memcpy(code->bytes + reloc->offset, &value, 4);
    }
    memcpy(tcg_code_rw + at, code->bytes, code->size);
}

static void log_host(const struct tcg_unit *unit)
{
    log_printf("OUT: %u bytes, %u of them on the main line\n", unit->code_size, tcg.code.main_size);
    disas_log(DISAS_X86_64, tcg_code_rx + unit->code, tcg.code.main_size,
              (uint64_t)(tcg_code_rx + unit->code));
    log_printf("  -- cold\n");
    uint32_t cold = (tcg.code.main_size + 15) & ~15u;
    disas_log(DISAS_X86_64, tcg_code_rx + unit->code + cold, unit->code_size - cold,
              (uint64_t)(tcg_code_rx + unit->code + cold));
    log_printf("\n");
}

static void reserve_links(struct tcg_region *region, uint32_t more)
{
    uint32_t need = region->link_count + more;

    if (need > region->link_cap) {
        uint32_t cap = region->link_cap ? region->link_cap : 4096;

        while (cap < need) {
            cap *= 2;
        }
        region->links = realloc(region->links, cap * sizeof(*region->links));
        region->link_cap = cap;
        if (!region->links) {
            abort();
        }
    }
}

/* There is room (tcg_make_room_locked()). */
static void place_code(struct tcg_unit *unit, const struct ir_target *target)
{
    struct tcg_region *region = &tcg.region[tcg.current];
    const struct jit_code *code = &tcg.code;

    unit->code = tcg_buffer_alloc(code->size);
    reserve_links(region, code->link_count);
    unit->code_size = code->size;
    unit->first_link = tcg.current << TCG_LINK_BITS | region->link_count;
    unit->link_count = code->link_count;
    unit->side =
        arena_dup(&region->arena, code->side ? code->side : (const uint8_t *)"", code->side_size);
    unit->side_size = code->side_size;
    for (uint32_t i = 0; i < code->link_count; i++) {
        region->links[region->link_count++] = (struct tcg_link){
            .from = unit,
            .pc = code->links[i].pc,
            .at = unit->code + code->links[i].offset,
            .stub = unit->code + code->links[i].stub,
            .next = TCG_NO_LINK,
            .prev = TCG_NO_LINK,
        };
    }
    install(target, unit->code, unit->first_link);
    tcg.stats.host_bytes += code->size;
    tcg.stats.host_main_bytes += code->main_size;
    tcg.stats.side_bytes += code->side_size;
    if (log_enabled(LOG_OUT_ASM)) {
        log_host(unit);
    }
}

/* The interpreter keeps the IR; the builder goes on with an empty unit. */
static bool place_ir(struct tcg_unit *unit)
{
    static uint32_t serial;

    unit->ir = malloc(sizeof(*unit->ir));
    if (!unit->ir) {
        return false;
    }
    *unit->ir = tcg.unit;
    ir_unit_init(&tcg.unit);
    unit->code = serial++; /* tcg_unit_at() is not asked */
    unit->code_size = 1;
    return true;
}

/* A copy of the unit's code, for fence.i and the like. */
static bool keep_bytes(struct tcg_unit *unit, struct tcg_where *where)
{
    unsigned length = (unsigned)(unit->end - unit->pc);
    uint8_t *bytes = arena_alloc(&tcg.region[tcg.current].arena, length + 1);

    if (!bytes) {
        return false;
    }
    if (!where->host[0]) {
        if (mem_guest_read(bytes, unit->pc, length) < 0) {
            memset(bytes, 0, length);
        }
    } else {
        unsigned first = fetch_host(where, unit->pc, bytes, length);

        if (first < length &&
            fetch_host(where, unit->pc + first, bytes + first, length - first) < length - first) {
            memset(bytes + first, 0, length - first);
        }
    }
    unit->guest_bytes = bytes;
    return true;
}

static void set_pages(struct tcg_unit *unit, const struct tcg_where *where)
{
    uint64_t last = unit->end > unit->pc ? unit->end - 1 : unit->pc;

    unit->page[0] = unit->pc >> TCG_PAGE_BITS;
    unit->page[1] = last >> TCG_PAGE_BITS;
    if (where->host[0]) {
        unit->page[0] = (uint64_t)(uintptr_t)where->host[0] >> TCG_PAGE_BITS;
        unit->page[1] = (uint64_t)(uintptr_t)where->host[1] >> TCG_PAGE_BITS;
    }
}

struct tcg_unit *tcg_translate_locked(struct cpu *cpu, const struct tcg_where *at)
{
    struct tcg_where where = *at;
    uint64_t pc = where.pc;
    bool single = tcg.config.one_insn || where.host[1];
    struct cpu_translate request = {
        .pc = pc,
        .mode = cpu->mode,
        .cpu = cpu,
        .max_insns = single ? 1 : UINT32_MAX,
        .long_units = tcg.options.super && !single,
        .fetch = tcg_fetch,
        .ends_before = tcg_breaks_any() ? tcg_breaks_end_before : NULL,
        .opaque = &where,
    };
    bool timed = log_enabled(LOG_STATS);
    uint64_t start = timed ? now_ns() : 0;
    struct tcg_unit *unit;

    if (tcg.system) {
        tcg.system->protect(cpu, at);
    }
    tcg_build_locked(cpu, &request);
    while (!tcg.interp && !jit_x86_compile(tcg.compiler, &tcg.unit, &tcg.code)) {
        /* too many values alive at once */
        request.max_insns = request.insns / 2 ? request.insns / 2 : 1;
        tcg_build_locked(cpu, &request);
    }
    if (!tcg.interp && !tcg_make_room_locked(tcg.code.size)) {
        return NULL;
    }
    unit = arena_zalloc(&tcg.region[tcg.current].arena, sizeof(*unit));
    if (!unit) {
        abort();
    }
    unit->pc = pc;
    unit->end = request.end > pc ? request.end : pc;
    unit->mode = cpu->mode;
    unit->incoming = TCG_NO_LINK;
    set_pages(unit, at);
    if (!keep_bytes(unit, &where)) {
        abort();
    }
    if (!tcg.interp) {
        place_code(unit, cpu->ops->ir);
    } else if (!place_ir(unit)) {
        return NULL;
    }
    tcg_remember_code(unit);
    tcg_perf_unit(unit);
    tcg_insert_locked(unit);
    if (tcg.system) {
        tcg.system->translated(unit);
    }
    tcg.stats.units++;
    tcg.stats.guest_insns += request.insns;
    tcg.stats.guest_bytes += unit->end - pc;
    if (timed) {
        tcg.stats.translate_ns += now_ns() - start;
    }
    return unit;
}
