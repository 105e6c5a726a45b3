/*
 * Shows the host code of guest instructions in a form that stays the same from run to run and from
 * host to host: tests/code/run compares it with what is expected.
 *
 * Reads requests from standard input, a line each: a host (`avx2` or `baseline`) and the guest
 * instructions in hexadecimal. They are translated as one unit, with the translator's default
 * options, by the front end, the builder and the x86-64 back end that the emulator uses. The answer
 * is a line of numbers
 *
 *     = GUEST HOST BYTES TOTAL
 *
 * (guest instructions translated, host instructions and bytes of the main line, bytes with cold
 * code) and the main line's instructions, a line each. What depends on addresses is named instead:
 *
 *     [state.a0]       the field of the vCPU state; state+0x10 where it has no name
 *     L1:              a place on the main line; `cold` is any place behind it
 *     guest+0x8        a unit: the one for that guest address, counted from the first instruction
 *     thunk.lookup, helper.NAME, runtime.fma64
 *
 * The request `pins` is answered by the registers that hold guest registers between units.
 * No code is run, so the host need not have the features of the one that is pretended.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "accel/tcg/internal.h"
#include "jit/x86_64/features.h"
#include "target/riscv/cpu.h"
#include "util/disas.h"

enum { PC = 0x10000, MAX_BYTES = 512, MAX_LABELS = 64 };

struct guest {
    uint8_t bytes[MAX_BYTES];
    unsigned length;
};

static const struct jit_x86_features avx2_host = {
    .popcnt = true,
    .lzcnt = true,
    .bmi1 = true,
    .bmi2 = true,
    .sse41 = true,
    .avx = true,
    .avx2 = true,
    .fma = true,
};
static const struct jit_x86_features baseline_host;

static struct cpu *cpu;

static unsigned fetch(void *opaque, uint64_t pc, void *bytes, unsigned length)
{
    const struct guest *guest = opaque;
    uint64_t at = pc - PC;
    unsigned n = at < guest->length ? guest->length - (unsigned)at : 0;

    n = n < length ? n : length;
    memcpy(bytes, guest->bytes + at, n);
    return n;
}

/* ---- names ----------------------------------------------------------------------------------- */

static const char *const thunk_names[JIT_THUNK_COUNT] = {
    [JIT_THUNK_ENTER] = "enter",   [JIT_THUNK_EXIT] = "exit", [JIT_THUNK_LINK] = "link",
    [JIT_THUNK_LOOKUP] = "lookup", [JIT_THUNK_MISS] = "miss", [JIT_THUNK_POLL] = "poll",
    [JIT_THUNK_FAULT] = "fault",
};

/* clang-format off */
static const struct {
    const char *name;
    size_t offset, size;
} fields[] = {
#define FIELD(field) {#field, offsetof(struct cpu, field), sizeof(((struct cpu *)0)->field)}
    FIELD(stack_limit),
    FIELD(jump_cache),
    FIELD(host_sp),
    FIELD(exit_arg),
    FIELD(exit_reason),
    FIELD(spill),
    FIELD(mode),
#undef FIELD
#define FIELD(field) \
    {#field, offsetof(struct riscv_cpu, field), sizeof(((struct riscv_cpu *)0)->field)}
    FIELD(pc),
    FIELD(fflags),
    FIELD(frm),
    FIELD(reservation),
    FIELD(reserved_value),
#undef FIELD
};
/* clang-format on */

static void name_state(int64_t offset, char *text, size_t size)
{
    const struct ir_target *target = cpu->ops->ir;

    for (unsigned g = 0; g < target->global_count; g++) {
        int64_t in = offset - (int64_t)target->globals[g].offset;

        if (in >= 0 && in < 8) {
            snprintf(text, size, in ? "state.%s+%d" : "state.%s", target->globals[g].name, (int)in);
            return;
        }
    }
    for (unsigned i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        int64_t in = offset - (int64_t)fields[i].offset;

        if (in >= 0 && in < (int64_t)fields[i].size) {
            snprintf(text, size, in ? "state.%s+%d" : "state.%s", fields[i].name, (int)in);
            return;
        }
    }
    snprintf(text, size, "state%+" PRId64, offset);
}

/* Replaces [rbp + 0x18] by the field's name. Text is edited in place. */
static void name_operands(char *text)
{
    char *at = strstr(text, "[rbp"), *end, name[64], rest[DISAS_TEXT_MAX];
    int64_t disp = 0;

    if (!at) {
        return;
    }
    end = at + 4;
    if (!strncmp(end, " + ", 3) || !strncmp(end, " - ", 3)) {
        bool minus = end[1] == '-';

        /* an index register may stand there */
        if (end[3] < '0' || end[3] > '9') {
            return;
        }
        disp = strtoll(end + 3, &end, 0);
        disp = minus ? -disp : disp;
    }
    if (*end != ']') {
        return;
    }
    name_state(disp + jit_x86_bias(cpu->ops->ir), name, sizeof(name));
    snprintf(rest, sizeof(rest), "%s", end);
    snprintf(at + 1, DISAS_TEXT_MAX - (size_t)(at + 1 - text), "%s%s", name, rest);
}

/* What the reloc or link in [at, end) leads to; false if there is none. */
static bool name_reference(uint32_t at, uint32_t end, char *text, size_t size)
{
    const struct jit_code *code = &tcg.code;

    for (uint32_t i = 0; i < code->link_count; i++) {
        if (code->links[i].offset >= at && code->links[i].offset < end) {
            int64_t to = (int64_t)(code->links[i].pc - PC);

            snprintf(text, size, "guest%s%#" PRIx64, to < 0 ? "-" : "+",
                     (uint64_t)(to < 0 ? -to : to));
            return true;
        }
    }
    for (uint32_t i = 0; i < code->reloc_count; i++) {
        const struct jit_reloc *reloc = &code->relocs[i];

        if (reloc->offset < at || reloc->offset >= end) {
            continue;
        }
        switch (reloc->kind) {
        case JIT_RELOC_HELPER:
            snprintf(text, size, "helper.%s", cpu->ops->ir->helpers[reloc->index].name);
            break;
        case JIT_RELOC_THUNK:
            snprintf(text, size, "thunk.%s",
                     reloc->index < JIT_THUNK_COUNT && thunk_names[reloc->index]
                         ? thunk_names[reloc->index]
                         : "?");
            break;
        case JIT_RELOC_RUNTIME:
            snprintf(text, size, "runtime.%s", reloc->index == JIT_RT_FMA64 ? "fma64" : "fma32");
            break;
        default:
            snprintf(text, size, "link");
        }
        return true;
    }
    return false;
}

/* ---- the listing ----------------------------------------------------------------------------- */

/* The operand of a jump or call within the unit, or -1. */
static int64_t jump_target(const char *text)
{
    const char *operand = strchr(text, ' ');
    char *end;
    int64_t to;

    if ((text[0] != 'j' && strncmp(text, "call", 4) != 0) || !operand ||
        strncmp(operand, " 0x", 3) != 0) {
        return -1;
    }
    to = strtoll(operand + 1, &end, 16);
    return *end ? -1 : to;
}

static unsigned label_of(const uint32_t *labels, unsigned count, uint32_t at)
{
    for (unsigned i = 0; i < count; i++) {
        if (labels[i] == at) {
            return i + 1;
        }
    }
    return 0;
}

/* Prints the main line; with `labels` being collected, only that. Returns the instructions. */
static unsigned list(uint32_t *labels, unsigned *count, bool print)
{
    const struct jit_code *code = &tcg.code;
    unsigned instructions = 0;

    for (uint32_t at = 0; at < code->main_size;) {
        char text[DISAS_TEXT_MAX], name[96];
        size_t n =
            disas_one(DISAS_X86_64, code->bytes + at, code->main_size - at, at, text, sizeof(text));
        uint32_t end = at + (n ? (uint32_t)n : 1);
        int64_t to = jump_target(text);

        instructions++;
        if (print && label_of(labels, *count, at)) {
            printf("L%u:\n", label_of(labels, *count, at));
        }
        if (name_reference(at, end, name, sizeof(name))) {
            /* the last operand is the reference */
            char *last = strrchr(text, ' ');

            snprintf(last ? last + 1 : text, 100, "%s", name);
        } else if (to >= 0 && to < (int64_t)code->main_size) {
            if (!label_of(labels, *count, (uint32_t)to) && *count < MAX_LABELS) {
                labels[(*count)++] = (uint32_t)to;
            }
            snprintf(strchr(text, ' ') + 1, 16, "L%u", label_of(labels, *count, (uint32_t)to));
        } else if (to >= 0) {
            snprintf(strchr(text, ' ') + 1, 16, "cold");
        } else {
            name_operands(text);
        }
        if (print) {
            printf("%s\n", text);
        }
        at = end;
    }
    return instructions;
}

static int translate(char *hexes, const struct jit_x86_features *host)
{
    uint32_t labels[MAX_LABELS];
    unsigned label_count = 0, instructions;
    struct guest guest = {.length = 0};
    struct cpu_translate request = {
        .pc = PC,
        .max_insns = UINT32_MAX,
        .long_units = tcg.options.super,
        .fetch = fetch,
        .opaque = &guest,
        .cpu = cpu,
        .mode = cpu->mode,
    };
    struct x86_compiler *compiler;
    char *rest = hexes, *hex;

    while ((hex = strtok_r(rest, " \n", &rest))) {
        char *end;
        uint32_t bits = (uint32_t)strtoul(hex, &end, 16);
        unsigned size = (bits & 3) == 3 ? 4 : 2;

        if (*end || guest.length + size > MAX_BYTES) {
            fprintf(stderr, "hostcode: '%s' is no instruction, or one too many\n", hex);
            return 1;
        }
        memcpy(guest.bytes + guest.length, &bits, size);
        guest.length += size;
    }
    jit_x86_features_pretend(host);
    compiler = jit_x86_new(&tcg.layout, &tcg.options);
    if (!compiler) {
        return 1;
    }
    ir_build_begin(&tcg.builder, &tcg.unit, &tcg.options, cpu->ops->ir, PC);
    cpu->ops->translate(&tcg.builder, &request);
    if (!jit_x86_compile(compiler, &tcg.unit, &tcg.code)) {
        fprintf(stderr, "hostcode: the unit is too large\n");
        return 1;
    }
    instructions = list(labels, &label_count, false);
    printf("= %u %u %u %u\n", request.insns, instructions, tcg.code.main_size, tcg.code.size);
    list(labels, &label_count, true);
    jit_x86_delete(compiler);
    return 0;
}

static void print_pins(void)
{
    static const char *const names[16] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                          "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
    const struct ir_target *target = cpu->ops->ir;
    int8_t pin[IR_MAX_GLOBALS];

    jit_x86_pins(target, pin);
    printf("= 0 0 0 0\n");
    for (unsigned g = 0; g < target->global_count; g++) {
        if (pin[g] >= 16) {
            printf("%s xmm%d\n", target->globals[g].name, pin[g] - 16);
        } else if (pin[g] >= 0) {
            printf("%s %s\n", target->globals[g].name, names[pin[g]]);
        }
    }
}

int main(void)
{
    struct tcg_config config = {0};
    char error[256], line[4096];

    if (!disas_available(DISAS_X86_64)) {
        fputs("no disassembler\n", stderr);
        return 77;
    }
    if (tcg_init(&config, error, sizeof(error)) < 0) {
        fprintf(stderr, "hostcode: %s\n", error);
        return 1;
    }
    cpu = accel_tcg.cpu_create(&riscv64_target_ops);
    if (!cpu || riscv64_target_ops.set_model(cpu, "rv64", error, sizeof(error)) < 0) {
        return 1;
    }
    while (fgets(line, sizeof(line), stdin)) {
        char *rest = line, *host = strtok_r(rest, " \n", &rest);

        if (host && !strcmp(host, "pins")) {
            print_pins();
        } else if (!host || (strcmp(host, "avx2") != 0 && strcmp(host, "baseline") != 0)) {
            fprintf(stderr, "hostcode: unknown host '%s'\n", host ? host : "");
            return 1;
        } else if (translate(rest, *host == 'a' ? &avx2_host : &baseline_host)) {
            return 1;
        }
    }
    return 0;
}
