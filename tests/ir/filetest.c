/*
 * Runs the file tests of the IR: those in tests/ir, or those named as arguments.
 *
 * A file is a sequence of tests; each starts with `; test: name` and is a unit in text form with
 * directives in its comments:
 *
 *   ; run: IN... => OUT...      runs on every engine, as read and after jit_opt_dce()
 *   ; verify: text              the verifier reports something that contains the text
 *   ; parse: text               the reader refuses it with a message that contains the text
 *   ; expect-text               the unit after jit_opt_dce() is what the next lines, `;| ...`, say
 *
 * Without a `verify:` the unit must be well-formed; with some, each must match a report and each
 * report one of them. Whatever can be read must survive print, parse and print.
 *
 * IN and OUT are words NAME=VALUE: a global; flags (as fflags_get gives them); rm (rounding mode,
 * IN only); mem8[N] to mem64[N] (test memory at offset N); scratch[N]; counter. Values are
 * integers, f64:X (a C floating-point constant) or f32:X (NaN-boxed). OUT also has how the unit was
 * left: exit=jump|br|lookup|ret PC, exit=call PC RETURN, exit=loop REASON PC, fault=ADDRESS with
 * pc=PC. What OUT does not mention must be as before the run.
 */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "jit/ir/text.h"
#include "jit/ir/verify.h"
#include "jit/opt/dce.h"
#include "tests/ir/target.h"
#include "tests/unit/tap.h"

#define MAX_DIRECTIVES 256
#define MAX_WORDS      64

struct test {
    const char *file;
    char name[128];
    char *text; /* of the whole test; directives are comments in it */
    char *runs[MAX_DIRECTIVES], *verifies[MAX_DIRECTIVES];
    unsigned run_count, verify_count;
    char *parse_error;
    char *expected; /* text, or NULL */
    bool matched[MAX_DIRECTIVES];
    unsigned surprises;
    struct ir_unit unit;
};

static uint8_t *memory;
static bool op_seen[IR_OP_COUNT];

/* ---- what a run starts from and ends with ---------------------------------------------------- */

struct machine {
    struct test_state state;
    uint8_t memory[TEST_MEM_SIZE];
    unsigned flags, rounding;
};

struct left {
    bool given, fault;
    enum ir_opcode op;
    uint64_t pc, return_pc, reason, address;
};

static bool parse_value(const char *text, uint64_t *value)
{
    char *end;

    errno = 0;
    if (!strncmp(text, "f64:", 4)) {
        double d = strtod(text + 4, &end);

        memcpy(value, &d, sizeof(d));
    } else if (!strncmp(text, "f32:", 4)) {
        float f = strtof(text + 4, &end);
        uint32_t bits;

        memcpy(&bits, &f, sizeof(f));
        *value = bits | UINT64_C(0xffffffff00000000);
    } else {
        *value = *text == '-' ? (uint64_t)strtoll(text, &end, 0) : strtoull(text, &end, 0);
    }
    return *text && !*end && (!errno || !strncmp(text, "f", 1));
}

/* name=value into the machine. */
static bool assign(struct machine *m, const char *name, uint64_t value)
{
    unsigned width, at;
    char end;

    for (unsigned g = 0; g < TEST_GLOBALS; g++) {
        if (!strcmp(name, test_target.globals[g].name)) {
            memcpy((uint8_t *)&m->state + test_target.globals[g].offset, &value, 8);
            return true;
        }
    }
    if (!strcmp(name, "flags")) {
        m->flags = (unsigned)value;
    } else if (!strcmp(name, "rm")) {
        m->rounding = (unsigned)value;
    } else if (!strcmp(name, "counter")) {
        m->state.counter = value;
    } else if (sscanf(name, "mem%u[%u%c", &width, &at, &end) == 3 && end == ']' &&
               (width == 8 || width == 16 || width == 32 || width == 64) &&
               at + width / 8 <= TEST_MEM_SIZE) {
        memcpy(m->memory + at, &value, width / 8);
    } else if (sscanf(name, "scratch[%u%c", &at, &end) == 2 && end == ']' && at < 8) {
        m->state.scratch[at] = value;
    } else {
        return false;
    }
    return true;
}

static bool parse_exit(struct left *left, const char *kind, char **words, unsigned *at,
                       unsigned count)
{
    uint64_t numbers[2] = {0};
    unsigned n = 0;
    char name[32];

    snprintf(name, sizeof(name), "exit_%s", kind);
    left->given = true;
    left->op = IR_OP_COUNT;
    for (unsigned op = 0; op < IR_OP_COUNT; op++) {
        if (!strcmp(name, ir_op_info[op].name)) {
            left->op = (enum ir_opcode)op;
        }
    }
    while (n < 2 && *at + 1 < count && parse_value(words[*at + 1], &numbers[n])) {
        n++;
        ++*at;
    }
    left->pc = numbers[0];
    if (left->op == IR_exit_call) {
        left->return_pc = numbers[1];
    } else if (left->op == IR_exit_loop) {
        left->reason = numbers[0];
        left->pc = numbers[1];
    }
    return left->op != IR_OP_COUNT &&
           n == (left->op == IR_exit_call || left->op == IR_exit_loop ? 2 : 1);
}

/* Both sides of a `run:`. The text is taken apart in place. */
static bool parse_run(char *text, struct machine *before, struct machine *after, struct left *left,
                      char *bad, size_t bad_size)
{
    char *words[MAX_WORDS], *rest = text, *word;
    unsigned count = 0;
    bool out = false;

    memset(left, 0, sizeof(*left));
    while (count < MAX_WORDS && (word = strtok_r(rest, " \t\r\n", &rest))) {
        words[count++] = word;
    }
    for (unsigned i = 0; i < count; i++) {
        char *equals = strchr(words[i], '=');
        uint64_t value = 0;
        bool good;

        snprintf(bad, bad_size, "%s", words[i]);
        if (!strcmp(words[i], "=>") && !out) {
            out = true;
            *after = *before;
            continue;
        }
        if (!equals) {
            return false;
        }
        *equals = 0;
        if (!strcmp(words[i], "exit") && out) {
            good = parse_exit(left, equals + 1, words, &i, count);
        } else if (!parse_value(equals + 1, &value)) {
            good = false;
        } else if (!strcmp(words[i], "fault") && out) {
            left->given = left->fault = good = true;
            left->address = value;
        } else if (!strcmp(words[i], "pc") && out) {
            left->pc = value;
            good = true;
        } else {
            good = assign(out ? after : before, words[i], value);
        }
        if (!good) {
            return false;
        }
    }
    snprintf(bad, bad_size, "no => or no exit");
    return out && left->given;
}

/* ---- comparing ------------------------------------------------------------------------------- */

struct differ {
    char text[1024];
    size_t length;
};

__attribute__((format(printf, 2, 3))) static void differ(struct differ *d, const char *fmt, ...)
{
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(d->text + d->length, sizeof(d->text) - d->length, fmt, ap);
    va_end(ap);
    d->length += (size_t)n;
    if (d->length >= sizeof(d->text)) {
        d->length = sizeof(d->text) - 1;
    }
}

static void compare_value(struct differ *d, const char *name, uint64_t got, uint64_t want)
{
    if (got != want) {
        differ(d, " %s is %#" PRIx64 ", expected %#" PRIx64 ";", name, got, want);
    }
}

static void compare(struct differ *d, const struct machine *got, const struct machine *want,
                    int result, const struct interp_exit *exit, const struct left *left)
{
    for (unsigned g = 0; g < TEST_GLOBALS; g++) {
        uint64_t a, b;

        memcpy(&a, (const uint8_t *)&got->state + test_target.globals[g].offset, 8);
        memcpy(&b, (const uint8_t *)&want->state + test_target.globals[g].offset, 8);
        compare_value(d, test_target.globals[g].name, a, b);
    }
    for (unsigned i = 0; i < 8; i++) {
        compare_value(d, "scratch", got->state.scratch[i], want->state.scratch[i]);
    }
    compare_value(d, "counter", got->state.counter, want->state.counter);
    compare_value(d, "flags", got->flags, want->flags);
    for (unsigned i = 0; i < TEST_MEM_SIZE; i++) {
        if (got->memory[i] != want->memory[i]) {
            differ(d, " memory[%u] is %#x, expected %#x;", i, got->memory[i], want->memory[i]);
        }
    }
    compare_value(d, "pc in the state", got->state.pc, left->pc);
    compare_value(d, "pc", exit->pc, left->pc);
    if (left->fault) {
        if (result != -EFAULT) {
            differ(d, " no fault;");
        } else {
            compare_value(d, "fault address", exit->fault_address, left->address);
        }
    } else if (result) {
        differ(d, " result %d, fault at %#" PRIx64 ";", result, exit->fault_address);
    } else {
        if (exit->op != left->op) {
            differ(d, " left by %s;", ir_op_info[exit->op].name);
        }
        if (left->op == IR_exit_call) {
            compare_value(d, "return pc", exit->return_pc, left->return_pc);
        }
        if (left->op == IR_exit_loop) {
            compare_value(d, "reason", exit->reason, left->reason);
        }
    }
}

/* ---- a test ---------------------------------------------------------------------------------- */

static void run_all(struct test *t, const struct test_engine *engine, const char *how)
{
    static struct machine before, after, m;
    struct differ all = {.length = 0};
    unsigned wrong = 0;

    for (unsigned i = 0; i < t->run_count; i++) {
        struct differ d = {.length = 0};
        char *text = strdup(t->runs[i]), bad[64];
        struct interp_exit exit;
        struct left left;
        int result;

        memset(&before, 0, sizeof(before));
        test_state_init(&before.state);
        if (!parse_run(text, &before, &after, &left, bad, sizeof(bad))) {
            differ(&d, " cannot read '%s'", bad);
        } else {
            m = before;
            memcpy(memory, m.memory, TEST_MEM_SIZE);
            result = test_run(engine, &t->unit, &m.state, &m.flags, m.rounding, &exit);
            memcpy(m.memory, memory, TEST_MEM_SIZE);
            compare(&d, &m, &after, result, &exit, &left);
        }
        if (d.length) {
            wrong++;
            differ(&all, "# run: %s\n#  %s\n", t->runs[i], d.text);
        }
        free(text);
    }
    if (!tap_ok(!wrong, "%s: %s: %u runs on %s, %s", t->file, t->name, t->run_count, engine->name,
                how)) {
        fputs(all.text, stdout);
    }
}

static void report(void *opaque, ir_ref op, const char *text)
{
    struct test *t = opaque;

    for (unsigned i = 0; i < t->verify_count; i++) {
        if (strstr(text, t->verifies[i])) {
            t->matched[i] = true;
            return;
        }
    }
    t->surprises++;
    printf("# %s: %s: v#%u: %s\n", t->file, t->name, op, text);
}

static void check_verifier(struct test *t)
{
    unsigned missing = 0;

    ir_verify(&t->unit, report, t);
    for (unsigned i = 0; i < t->verify_count; i++) {
        if (!t->matched[i]) {
            missing++;
            printf("# not reported: %s\n", t->verifies[i]);
        }
    }
    tap_ok(!missing && !t->surprises, "%s: %s: %s", t->file, t->name,
           t->verify_count ? "what the verifier reports" : "is well-formed");
}

static void check_round_trip(struct test *t)
{
    struct ir_unit again;
    char error[160] = "", *first = test_print(&t->unit), *second = NULL;

    ir_unit_init(&again);
    if (!ir_parse(&again, &test_target, first, error, sizeof(error))) {
        second = test_print(&again);
    }
    if (!second || strcmp(first, second) != 0) {
        tap_ok(false, "%s: %s: print, parse and print", t->file, t->name);
        printf("# %s\n# first:\n%s# second:\n%s", error, first, second ? second : "");
    }
    ir_unit_free(&again);
    free(first);
    free(second);
}

static void note_ops(const struct ir_unit *unit)
{
    for (uint32_t b = 0; b < unit->block_count; b++) {
        for (ir_ref r = unit->blocks[b].first; r; r = unit->ins[r].next) {
            op_seen[unit->ins[r].op] = true;
        }
    }
}

static void run_test(struct test *t)
{
    char error[160] = "";
    int result;

    ir_unit_init(&t->unit);
    result = ir_parse(&t->unit, &test_target, t->text, error, sizeof(error));
    if (t->parse_error) {
        tap_ok(result == -EINVAL && strstr(error, t->parse_error), "%s: %s: refused", t->file,
               t->name);
        printf("# %s\n", error);
    } else if (result) {
        tap_ok(false, "%s: %s: can be read", t->file, t->name);
        printf("# %s\n", error);
    } else {
        check_verifier(t);
        check_round_trip(t);
        if (!t->verify_count) {
            if (t->run_count) {
                note_ops(&t->unit);
            }
            for (const struct test_engine *e = test_engines; t->run_count && e->name; e++) {
                run_all(t, e, "as read");
            }
            jit_opt_dce(&t->unit);
            for (const struct test_engine *e = test_engines; t->run_count && e->name; e++) {
                run_all(t, e, "after dce");
            }
            if (t->expected) {
                char *got = test_print(&t->unit);

                if (!tap_ok(!strcmp(got, t->expected), "%s: %s: optimised text", t->file,
                            t->name)) {
                    printf("# got:\n%s# expected:\n%s", got, t->expected);
                }
                free(got);
            }
            /* Dead code may not make a good unit bad. */
            if (ir_verify(&t->unit, report, t)) {
                tap_ok(false, "%s: %s: is well-formed after dce", t->file, t->name);
            }
        }
    }
    ir_unit_free(&t->unit);
}

/* ---- a file ---------------------------------------------------------------------------------- */

/* What follows `; NAME:` in the line, or NULL. Cut at the line's end by the caller. */
static char *directive(char *line, const char *name)
{
    size_t n = strlen(name);

    if (strncmp(line, "; ", 2) != 0 || strncmp(line + 2, name, n) != 0) {
        return NULL;
    }
    line += 2 + n;
    return line + strspn(line, " \t");
}

static void add(const struct test *t, char **list, unsigned *count, char *text)
{
    if (*count < MAX_DIRECTIVES) {
        list[(*count)++] = strdup(text);
    } else {
        tap_ok(false, "%s: %s: at most %d directives", t->file, t->name, MAX_DIRECTIVES);
    }
}

static void finish_test(struct test *t, char *text)
{
    if (*t->name) {
        t->text = text;
        if (!t->run_count && !t->verify_count && !t->parse_error && !t->expected) {
            tap_ok(false, "%s: %s: has a directive", t->file, t->name);
        }
        run_test(t);
    }
    for (unsigned i = 0; i < t->run_count; i++) {
        free(t->runs[i]);
    }
    for (unsigned i = 0; i < t->verify_count; i++) {
        free(t->verifies[i]);
    }
    free(t->parse_error);
    free(t->expected);
    memset(t, 0, sizeof(*t));
}

static void run_file(const char *path)
{
    static struct test t;
    FILE *file = fopen(path, "r");
    char *line = NULL, *text = NULL, *rest;
    size_t cap = 0, size = 0;
    FILE *body = open_memstream(&text, &size);

    if (!file || !body) {
        tap_ok(false, "%s: can be opened", path);
        return;
    }
    while (getline(&line, &cap, file) >= 0) {
        line[strcspn(line, "\n")] = 0;
        if ((rest = directive(line, "test:"))) {
            fclose(body);
            finish_test(&t, text);
            free(text);
            text = NULL;
            body = open_memstream(&text, &size);
            t.file = path;
            snprintf(t.name, sizeof(t.name), "%s", rest);
        } else if ((rest = directive(line, "run:"))) {
            add(&t, t.runs, &t.run_count, rest);
        } else if ((rest = directive(line, "verify:"))) {
            add(&t, t.verifies, &t.verify_count, rest);
        } else if ((rest = directive(line, "parse:"))) {
            t.parse_error = strdup(rest);
        } else if (directive(line, "expect-text")) {
            t.expected = strdup("");
        } else if (!strncmp(line, ";|", 2) && t.expected) {
            size_t old = strlen(t.expected), n = strlen(line + 2);

            t.expected = realloc(t.expected, old + n + 2);
            memcpy(t.expected + old, line + 2, n);
            strcpy(t.expected + old + n, "\n");
        }
        fprintf(body, "%s\n", line);
    }
    fclose(body);
    finish_test(&t, text);
    free(text);
    free(line);
    fclose(file);
}

static int is_test(const struct dirent *entry)
{
    size_t n = strlen(entry->d_name);

    return n > 3 && !strcmp(entry->d_name + n - 3, ".ir");
}

/* Every op must have been run by some test. */
static void check_coverage(void)
{
    unsigned missing = 0;

    for (unsigned op = 0; op < IR_OP_COUNT; op++) {
        if (!op_seen[op]) {
            missing++;
            printf("# no test runs %s\n", ir_op_info[op].name);
        }
    }
    tap_ok(!missing, "every op is run by some test");
}

/* docs/ir.md is kept by hand: each op must have a row there, `| name | ...`. */
static void check_document(void)
{
    FILE *file = fopen("docs/ir.md", "r");
    char *line = NULL, name[32];
    bool found[IR_OP_COUNT] = {false};
    size_t cap = 0;
    unsigned missing = 0;

    while (file && getline(&line, &cap, file) >= 0) {
        if (sscanf(line, "| `%31[a-z0-9_]`", name) == 1) {
            for (unsigned op = 0; op < IR_OP_COUNT; op++) {
                found[op] |= !strcmp(name, ir_op_info[op].name);
            }
        }
    }
    for (unsigned op = 0; op < IR_OP_COUNT; op++) {
        if (!found[op]) {
            missing++;
            printf("# docs/ir.md does not describe %s\n", ir_op_info[op].name);
        }
    }
    tap_ok(!missing, "docs/ir.md describes every op");
    free(line);
    if (file) {
        fclose(file);
    }
}

int main(int argc, char **argv)
{
    memory = test_memory();
    if (!tap_ok(memory, "test memory")) {
        return tap_done();
    }
    if (argc > 1) {
        for (int i = 1; i < argc; i++) {
            run_file(argv[i]);
        }
    } else {
        struct dirent **entries;
        int n = scandir("tests/ir", &entries, is_test, alphasort);

        tap_ok(n > 0, "tests/ir has tests");
        for (int i = 0; i < n; i++) {
            char path[512];

            snprintf(path, sizeof(path), "tests/ir/%s", entries[i]->d_name);
            run_file(path);
            free(entries[i]);
        }
        if (n >= 0) {
            free(entries);
        }
        check_coverage();
        check_document();
    }
    return tap_done();
}
