/*
 * `--explain`: one instruction on its way through the translator.
 */
#include <errno.h>
#include <string.h>
#include "accel/tcg/internal.h"
#include "jit/ir/text.h"
#include "jit/opt/dce.h"
#include "util/disas.h"

enum { EXPLAIN_PC = 0x10000 };

struct one {
    const uint8_t *bytes;
    unsigned length;
};

static unsigned fetch_one(void *opaque, uint64_t pc, void *bytes, unsigned length)
{
    const struct one *one = opaque;
    unsigned at = (unsigned)(pc - EXPLAIN_PC), n = at < one->length ? one->length - at : 0;

    if (n > length)
        n = length;
    memcpy(bytes, one->bytes + at, n);
    return n;
}

static void print(void *opaque, const char *text, size_t length)
{
    fwrite(text, 1, length, opaque);
}

static void print_host(FILE *out, const uint8_t *code, uint32_t from, uint32_t to)
{
    char text[DISAS_TEXT_MAX];

    for (uint32_t at = from; at < to;) {
        size_t n = disas_one(DISAS_X86_64, code + at, to - at, at, text, sizeof(text));

        fprintf(out, "  %4x:  %s\n", at, text);
        at += n ? (uint32_t)n : 1;
    }
}

int tcg_explain(const struct cpu_target_ops *ops, const char *model, const void *bytes, unsigned length, FILE *out)
{
    struct tcg_config config = {0};
    struct one one = {bytes, length};
    struct cpu_translate request = {
        .pc = EXPLAIN_PC, .max_insns = 1, .long_units = true, .fetch = fetch_one, .opaque = &one};
    struct x86_compiler *compiler;
    char text[256];
    struct cpu *cpu;
    unsigned used;

    if (!tcg.ready && tcg_init(&config, text, sizeof(text)) < 0)
        return -ENOMEM;
    cpu = accel_tcg.cpu_create(ops);
    if (!cpu)
        return -ENOMEM;
    if (model && ops->set_model(cpu, model, text, sizeof(text)) < 0) {
        fprintf(out, "%s\n", text);
        return -EINVAL;
    }
    request.cpu = cpu;
    request.mode = cpu->mode;
    used = ops->disassemble(cpu, EXPLAIN_PC, bytes, length, text, sizeof(text));
    fprintf(out, "Guest (%u bytes):\n  %s\n\n", used, text);

    ir_build_begin(&tcg.builder, &tcg.unit, &tcg.options, ops->ir, EXPLAIN_PC);
    ops->translate(&tcg.builder, &request);
    fputs("IR:\n", out);
    ir_print(&tcg.unit, print, out);
    if (tcg.options.dce)
        jit_opt_dce(&tcg.unit);
    fputs("\nIR after optimisation:\n", out);
    ir_print(&tcg.unit, print, out);

    compiler = jit_x86_new(&tcg.layout, &tcg.options);
    if (!compiler)
        return -ENOMEM;
    (void)jit_x86_compile(compiler, &tcg.unit, &tcg.code);
    fprintf(out, "\nHost code (%u bytes):\n", tcg.code.size);
    print_host(out, tcg.code.bytes, 0, tcg.code.main_size);
    fputs("  cold:\n", out);
    print_host(out, tcg.code.bytes, (tcg.code.main_size + 15) & ~15u, tcg.code.size);
    jit_x86_delete(compiler);
    accel_tcg.cpu_destroy(cpu);
    return 0;
}
