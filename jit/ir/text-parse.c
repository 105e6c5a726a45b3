/*
 * The reader of the text form; the printer is in text.c. docs/ir.md has the grammar.
 *
 * It checks spelling only. A unit that breaks the rules of the IR is read as it stands, for tests
 * of the verifier are written in text too; run ir_verify() on what comes out.
 *
 * A value may be used in a line above its definition (blocks need not be in the order of
 * dominance). Such a use is a ref with FORWARD set and the value's name in it, until the last line
 * is read.
 */
#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "jit/ir/emit.h"
#include "jit/ir/text.h"

#define FORWARD    UINT32_C(0x80000000)
#define MAX_NAME   (1u << 20) /* values and ops of a text */
#define MAX_BLOCKS 65535u
#define MAX_ARGS   256u /* of one op */
#define WORD_SIZE  64

struct name {
    ir_ref ref;
    unsigned line; /* of its first mention */
};

struct parser {
    struct ir_unit *unit;
    const struct ir_target *target;
    const char *at;
    unsigned line;
    uint32_t block; /* where ops go, or IR_NO_BLOCK */
    struct name *names;
    uint32_t name_cap;
    bool *defined; /* by block */
    uint32_t block_cap;
    char *error;
    size_t error_size;
    jmp_buf fail;
};

#define IR_NO_BLOCK UINT32_MAX

__attribute__((format(printf, 2, 3), noreturn)) static void fail(struct parser *p, const char *fmt,
                                                                 ...)
{
    va_list ap;
    int n = snprintf(p->error, p->error_size, "line %u: ", p->line);

    if (n > 0 && (size_t)n < p->error_size) {
        va_start(ap, fmt);
        vsnprintf(p->error + n, p->error_size - (size_t)n, fmt, ap);
        va_end(ap);
    }
    longjmp(p->fail, 1);
}

/* How much of what is left of the line goes into a message. */
static int excerpt(const struct parser *p)
{
    size_t n = strcspn(p->at, "\r\n");

    return n < 20 ? (int)n : 20;
}

/* ---- characters -------------------------------------------------------------------------- */

static void skip_space(struct parser *p)
{
    while (*p->at == ' ' || *p->at == '\t' || *p->at == '\r') {
        p->at++;
    }
    if (*p->at == ';') {
        while (*p->at && *p->at != '\n') {
            p->at++;
        }
    }
}

static bool at_end_of_line(struct parser *p)
{
    skip_space(p);
    return *p->at == '\n' || !*p->at;
}

static bool accept(struct parser *p, char c)
{
    skip_space(p);
    if (*p->at != c) {
        return false;
    }
    p->at++;
    return true;
}

static void expect(struct parser *p, char c)
{
    if (!accept(p, c)) {
        fail(p, "expected '%c' before '%.*s'", c, excerpt(p), p->at);
    }
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) || c == '_';
}

/* The next word, empty if there is none. */
static void word(struct parser *p, char text[WORD_SIZE])
{
    size_t n = 0;

    skip_space(p);
    while (is_word(*p->at)) {
        if (n == WORD_SIZE - 1) {
            fail(p, "a word of more than %d characters", WORD_SIZE - 1);
        }
        text[n++] = *p->at++;
    }
    text[n] = 0;
}

/* Skips the word if it is the next one. */
static bool accept_word(struct parser *p, const char *text)
{
    size_t n = strlen(text);

    skip_space(p);
    if (strncmp(p->at, text, n) != 0 || is_word(p->at[n])) {
        return false;
    }
    p->at += n;
    return true;
}

static uint64_t number(struct parser *p)
{
    char *end;
    uint64_t value;

    skip_space(p);
    if (!is_digit(*p->at)) {
        fail(p, "expected a number");
    }
    errno = 0;
    value = strtoull(p->at, &end, 0);
    if (errno || is_word(*end)) {
        fail(p, "bad number '%.*s'", excerpt(p), p->at);
    }
    p->at = end;
    return value;
}

static int64_t signed_number(struct parser *p)
{
    return accept(p, '-') ? (int64_t)(0 - number(p)) : (int64_t)number(p);
}

/* A letter followed by a number, as in v12 and b3. */
static uint32_t numbered(struct parser *p, char letter, uint32_t limit)
{
    uint64_t n;

    skip_space(p);
    if (*p->at != letter || !is_digit(p->at[1])) {
        fail(p, "expected %c and a number", letter);
    }
    p->at++;
    n = strtoull(p->at, (char **)&p->at, 10);
    if (n >= limit || is_word(*p->at)) {
        fail(p, "bad number after '%c'", letter);
    }
    return (uint32_t)n;
}

/* ---- the unit ---------------------------------------------------------------------------- */

static ir_ref append(struct parser *p, const struct ir_ins *ins)
{
    struct ir_unit *unit = p->unit;
    struct ir_block *block;
    ir_ref ref = unit->ins_count;

    if (p->block == IR_NO_BLOCK) {
        fail(p, "an op outside of a block");
    }
    if (ref >= MAX_NAME) {
        fail(p, "more than %u ops", MAX_NAME);
    }
    if (ref >= unit->ins_cap) {
        unit->ins = ir_unit_grow(unit->ins, &unit->ins_cap, ref + 1, sizeof(*unit->ins));
    }
    unit->ins[ref] = *ins;
    unit->ins_count++;
    block = &unit->blocks[p->block];
    if (block->last) {
        unit->ins[block->last].next = ref;
    } else {
        block->first = ref;
    }
    block->last = ref;
    return ref;
}

static uint32_t append_pool(struct parser *p, const ir_ref *refs, uint32_t count)
{
    struct ir_unit *unit = p->unit;
    uint32_t first = unit->pool_count;

    if (first + count > unit->pool_cap) {
        unit->pool = ir_unit_grow(unit->pool, &unit->pool_cap, first + count, sizeof(*unit->pool));
    }
    for (uint32_t i = 0; i < count; i++) {
        unit->pool[first + i] = refs[i];
    }
    unit->pool_count += count;
    return first;
}

/* ---- names ------------------------------------------------------------------------------- */

static struct name *name_of(struct parser *p, uint32_t n)
{
    if (n >= p->name_cap) {
        uint32_t old = p->name_cap;

        p->names = ir_unit_grow(p->names, &p->name_cap, n + 1, sizeof(*p->names));
        memset(p->names + old, 0, (p->name_cap - old) * sizeof(*p->names));
    }
    if (!p->names[n].line) {
        p->names[n].line = p->line;
    }
    return &p->names[n];
}

static uint32_t block_index(struct parser *p)
{
    uint32_t n = numbered(p, 'b', MAX_BLOCKS);
    struct ir_unit *unit = p->unit;

    if (n >= unit->block_count) {
        uint32_t count = unit->block_count;

        if (n >= unit->block_cap) {
            unit->blocks =
                ir_unit_grow(unit->blocks, &unit->block_cap, n + 1, sizeof(*unit->blocks));
        }
        if (n >= p->block_cap) {
            p->defined = ir_unit_grow(p->defined, &p->block_cap, n + 1, sizeof(*p->defined));
        }
        memset(unit->blocks + count, 0, (n + 1 - count) * sizeof(*unit->blocks));
        memset(p->defined + count, 0, (n + 1 - count) * sizeof(*p->defined));
        unit->block_count = n + 1;
    }
    return n;
}

static enum ir_type type_name(struct parser *p)
{
    char text[WORD_SIZE];

    word(p, text);
    for (unsigned t = IR_VOID + 1; t < IR_TYPE_COUNT; t++) {
        if (!strcmp(text, ir_type_name((enum ir_type)t))) {
            return (enum ir_type)t;
        }
    }
    fail(p, "no type '%s'", text);
}

static enum ir_opcode op_name(struct parser *p, const char *text)
{
    for (unsigned op = 0; op < IR_OP_COUNT; op++) {
        if (!strcmp(text, ir_op_info[op].name)) {
            return (enum ir_opcode)op;
        }
    }
    fail(p, "no op '%s'", text);
}

/* `#n`: by number, so that a test can name what does not exist. */
static bool accept_index(struct parser *p, uint64_t limit, uint64_t *index)
{
    if (!accept(p, '#')) {
        return false;
    }
    *index = number(p);
    if (*index > limit) {
        fail(p, "#%" PRIu64 " is more than %" PRIu64, *index, limit);
    }
    return true;
}

static uint8_t global_name(struct parser *p)
{
    char text[WORD_SIZE];
    uint64_t index;

    if (accept_index(p, IR_NO_GLOBAL - 1, &index)) {
        return (uint8_t)index;
    }
    word(p, text);
    for (unsigned g = 0; g < p->target->global_count; g++) {
        if (!strcmp(text, p->target->globals[g].name)) {
            return (uint8_t)g;
        }
    }
    fail(p, "no global '%s'", text);
}

static int64_t helper_name(struct parser *p)
{
    char text[WORD_SIZE];
    uint64_t index;

    if (accept_index(p, UINT16_MAX, &index)) {
        return (int64_t)index;
    }
    word(p, text);
    for (unsigned h = 0; h < p->target->helper_count; h++) {
        if (!strcmp(text, p->target->helpers[h].name)) {
            return h;
        }
    }
    fail(p, "no helper '%s'", text);
}

/* A word out of those that names(0..limit) gives. */
#define CHOICE(what, type, names, limit)                 \
    static uint8_t what(struct parser *p)                \
    {                                                    \
        char text[WORD_SIZE];                            \
        uint64_t index;                                  \
                                                         \
        if (accept_index(p, UINT8_MAX, &index)) {        \
            return (uint8_t)index;                       \
        }                                                \
        word(p, text);                                   \
        for (unsigned i = 0; i < (limit); i++) {         \
            const char *known = names((type)i);          \
                                                         \
            if (known && !strcmp(text, known)) {         \
                return (uint8_t)i;                       \
            }                                            \
        }                                                \
        fail(p, "expected a " #what ", not '%s'", text); \
    }
CHOICE(condition, enum ir_cc, ir_cc_name, IR_CC_COUNT)
CHOICE(comparison, enum ir_fcc, ir_fcc_name, IR_FCC_COUNT)
CHOICE(width, unsigned, ir_mem_name, 2 * IR_MS)
CHOICE(operation, enum ir_amo, ir_amo_name, IR_AMO_COUNT)
#undef CHOICE

/* ---- operands ---------------------------------------------------------------------------- */

/* A value, or an integer constant of type `expected` (IR_VOID: i64) unless it says another. */
static ir_ref value(struct parser *p, enum ir_type expected)
{
    struct ir_ins constant = {.op = IR_const, .aux = 0};
    bool negative;

    skip_space(p);
    if (*p->at == 'v') {
        uint32_t n = numbered(p, 'v', MAX_NAME);
        struct name *name = name_of(p, n);

        return name->ref ? name->ref : FORWARD | n;
    }
    negative = *p->at == '-';
    constant.imm = signed_number(p);
    constant.type = (uint8_t)(ir_type_is_int(expected) ? expected : IR_I64);
    if (*p->at == ':') {
        p->at++;
        constant.type = (uint8_t)type_name(p);
        if (!ir_type_is_int((enum ir_type)constant.type)) {
            fail(p, "only integer constants can stand in an op");
        }
    }
    if (constant.type == IR_I32) {
        if (negative ? constant.imm < INT32_MIN || constant.imm > 0
                     : (uint64_t)constant.imm > UINT32_MAX) {
            fail(p, "the constant has more than 32 bits");
        }
        constant.imm = (int32_t)constant.imm;
    }
    return append(p, &constant);
}

static enum ir_type type_of(const struct parser *p, ir_ref ref)
{
    return ref & FORWARD ? IR_VOID : (enum ir_type)p->unit->ins[ref].type;
}

static void plain(struct parser *p, struct ir_ins *ins)
{
    const struct ir_op_info *info = &ir_op_info[ins->op];
    ir_ref *const fields[3] = {&ins->a, &ins->b, &ins->c};

    for (unsigned i = 0; i < info->nargs; i++) {
        enum ir_type expected = IR_VOID;

        if (i) {
            expect(p, ',');
        }
        if (info->args[i] == 't') {
            expected = (enum ir_type)ins->type;
        } else if (info->args[i] == 'w') {
            expected = IR_I32;
        }
        *fields[i] = value(p, expected);
        if (info->args[i] == 'p') {
            if (accept(p, '+')) {
                ins->imm = (int64_t)number(p);
            } else if (accept(p, '-')) {
                ins->imm = (int64_t)(0 - number(p));
            }
        }
    }
}

/* Values in parentheses, appended to refs[]. Returns the new count. */
static uint32_t list(struct parser *p, ir_ref refs[MAX_ARGS], uint32_t count)
{
    expect(p, '(');
    if (accept(p, ')')) {
        return count;
    }
    do {
        if (count == MAX_ARGS) {
            fail(p, "more than %u arguments", MAX_ARGS);
        }
        refs[count++] = value(p, IR_VOID);
    } while (accept(p, ','));
    expect(p, ')');
    return count;
}

static void modifiers(struct parser *p, struct ir_ins *ins)
{
    switch ((enum ir_opcode)ins->op) {
    case IR_icmp:
    case IR_br:
    case IR_exit_br:
    case IR_callif:
        ins->cc = condition(p);
        break;
    case IR_fcmp:
        ins->cc = comparison(p);
        break;
    case IR_amo:
        ins->aux = operation(p);
        ins->cc = width(p);
        break;
    case IR_ld:
    case IR_st:
    case IR_cas:
    case IR_cpu_ld:
    case IR_cpu_st:
        ins->cc = width(p);
        break;
    case IR_fence:
        ins->aux = accept_word(p, "full");
        break;
    case IR_fma:
        ins->aux = accept_word(p, "negp") ? IR_FMA_NEG_PRODUCT : 0;
        ins->aux |= accept_word(p, "nega") ? IR_FMA_NEG_ADDEND : 0;
        break;
    case IR_f2i:
        ins->aux = accept_word(p, "rtz");
        if (!ins->aux && !accept_word(p, "dyn")) {
            fail(p, "expected rtz or dyn");
        }
        break;
    default:
        break;
    }
}

/* `via value`, or the address itself. */
static void destination(struct parser *p, struct ir_ins *ins)
{
    if (accept_word(p, "via")) {
        ins->a = value(p, IR_I64);
    } else {
        ins->imm = (int64_t)number(p);
    }
}

static uint8_t byte(struct parser *p)
{
    uint64_t n = number(p);

    if (n > UINT8_MAX) {
        fail(p, "%" PRIu64 " is more than 255", n);
    }
    return (uint8_t)n;
}

static void arguments(struct parser *p, struct ir_ins *ins)
{
    ir_ref refs[MAX_ARGS];
    uint64_t other;

    switch ((enum ir_opcode)ins->op) {
    case IR_const:
        ins->imm = signed_number(p);
        if (ins->type == IR_I32) {
            ins->imm = (int32_t)ins->imm;
        }
        break;
    case IR_param:
        ins->imm = p->unit->blocks[p->block].params;
        ins->aux = at_end_of_line(p) ? IR_NO_GLOBAL : global_name(p);
        break;
    case IR_insn:
        ins->imm = (int64_t)number(p);
        ins->aux = byte(p);
        break;
    case IR_gget:
        ins->aux = global_name(p);
        break;
    case IR_gset:
        ins->aux = global_name(p);
        expect(p, ',');
        ins->a = value(p, IR_VOID);
        break;
    case IR_jump:
        ins->imm = block_index(p);
        if (!at_end_of_line(p)) {
            ins->b = list(p, refs, 0);
        }
        ins->a = append_pool(p, refs, ins->b);
        break;
    case IR_br:
    case IR_exit_br:
        ins->a = value(p, IR_VOID);
        expect(p, ',');
        ins->b = value(p, type_of(p, ins->a));
        expect(p, ',');
        if (ins->op == IR_br) {
            ins->imm = block_index(p);
            expect(p, ',');
            other = block_index(p);
            ins->imm |= (int64_t)(other << 32);
        } else {
            ins->imm = (int64_t)number(p);
            expect(p, ',');
            ins->c = value(p, IR_I64);
        }
        break;
    case IR_icmp:
        ins->a = value(p, IR_VOID);
        expect(p, ',');
        ins->b = value(p, type_of(p, ins->a));
        break;
    case IR_cpu_ld:
        ins->imm = signed_number(p);
        break;
    case IR_cpu_st:
        ins->imm = signed_number(p);
        expect(p, ',');
        plain(p, ins);
        break;
    case IR_call:
        ins->imm = helper_name(p);
        ins->b = list(p, refs, 0);
        ins->a = append_pool(p, refs, ins->b);
        break;
    case IR_callif:
        refs[0] = value(p, IR_VOID);
        expect(p, ',');
        refs[1] = value(p, type_of(p, refs[0]));
        expect(p, '?');
        ins->imm = helper_name(p);
        ins->b = list(p, refs, 3);
        refs[2] = IR_NONE;
        if (accept(p, ':')) {
            refs[2] = value(p, (enum ir_type)ins->type);
        }
        ins->a = append_pool(p, refs, ins->b);
        break;
    case IR_exit_jump:
        ins->imm = (int64_t)number(p);
        break;
    case IR_exit_call:
        destination(p, ins);
        expect(p, ',');
        ins->c = value(p, IR_I64);
        break;
    case IR_exit_loop:
        ins->aux = byte(p);
        expect(p, ',');
        destination(p, ins);
        break;
    default:
        plain(p, ins);
        break;
    }
}

/* ---- lines ------------------------------------------------------------------------------- */

static void op_line(struct parser *p)
{
    struct ir_ins ins = {.op = 0};
    struct name *result = NULL;
    uint32_t result_number = 0;
    char text[WORD_SIZE];
    struct ir_block *block;
    ir_ref ref;

    if (p->block == IR_NO_BLOCK) {
        fail(p, "an op outside of a block");
    }
    if (*p->at == 'v' && is_digit(p->at[1])) {
        result_number = numbered(p, 'v', MAX_NAME);
        result = name_of(p, result_number);
        if (result->ref) {
            fail(p, "v%" PRIu32 " is defined a second time", result_number);
        }
        expect(p, '=');
    }
    word(p, text);
    ins.op = (uint8_t)op_name(p, text);
    if (*p->at == '.') {
        p->at++;
        ins.type = (uint8_t)type_name(p);
    }
    if (*p->at == '!') {
        p->at++;
        ins.flags = IR_VF_CANON;
    }
    if (result && ins.type == IR_VOID) {
        fail(p, "v%" PRIu32 " names an op without a value", result_number);
    }
    modifiers(p, &ins);
    arguments(p, &ins);
    ref = append(p, &ins);
    if (result) {
        /* Operands may have moved the table. */
        name_of(p, result_number)->ref = ref;
    }
    /* Parameters are counted while they stand at the head; constants do not stand in the text. */
    block = &p->unit->blocks[p->block];
    if (ins.op == IR_param &&
        (block->params ? p->unit->ins[ref - 1].op == IR_param : block->first == ref)) {
        block->params++;
    }
}

static void line(struct parser *p)
{
    if (at_end_of_line(p)) {
        return;
    }
    if (*p->at == 'b' && is_digit(p->at[1])) {
        p->block = block_index(p);
        if (p->defined[p->block]) {
            fail(p, "b%" PRIu32 " is defined a second time", p->block);
        }
        p->defined[p->block] = true;
        expect(p, ':');
        p->unit->blocks[p->block].cold = accept_word(p, "cold");
    } else if (accept_word(p, "unit")) {
        char text[WORD_SIZE];

        word(p, text);
        if (strcmp(text, p->target->name) != 0) {
            fail(p, "the unit is for target '%s', not '%s'", text, p->target->name);
        }
        p->unit->pc = number(p);
    } else {
        op_line(p);
    }
    if (!at_end_of_line(p)) {
        fail(p, "unexpected '%.*s'", excerpt(p), p->at);
    }
}

static void resolve(struct parser *p, ir_ref *ref)
{
    if (*ref & FORWARD) {
        uint32_t n = *ref & ~FORWARD;

        if (!p->names[n].ref) {
            p->line = p->names[n].line;
            fail(p, "v%" PRIu32 " is not defined", n);
        }
        *ref = p->names[n].ref;
    }
}

static void count_edge(struct ir_unit *unit, uint32_t to)
{
    unit->blocks[to].preds++;
}

static void finish(struct parser *p)
{
    struct ir_unit *unit = p->unit;

    if (!unit->block_count) {
        fail(p, "no block");
    }
    for (uint32_t b = 0; b < unit->block_count; b++) {
        if (!p->defined[b]) {
            fail(p, "b%" PRIu32 " is not defined", b);
        }
    }
    for (ir_ref ref = 1; ref < unit->ins_count; ref++) {
        struct ir_ins *ins = &unit->ins[ref];

        resolve(p, &ins->a);
        resolve(p, &ins->b);
        resolve(p, &ins->c);
        if (ins->op == IR_jump) {
            count_edge(unit, (uint32_t)ins->imm);
        } else if (ins->op == IR_br) {
            count_edge(unit, (uint32_t)ins->imm);
            count_edge(unit, (uint32_t)((uint64_t)ins->imm >> 32));
        }
    }
    for (uint32_t i = 0; i < unit->pool_count; i++) {
        resolve(p, &unit->pool[i]);
    }
}

int ir_parse(struct ir_unit *unit, const struct ir_target *target, const char *text, char *error,
             size_t error_size)
{
    struct parser p = {
        .unit = unit,
        .target = target,
        .at = text,
        .line = 1,
        .block = IR_NO_BLOCK,
        .error = error,
        .error_size = error_size,
    };
    int result = 0;

    ir_unit_reset(unit, target, 0);
    if (!unit->ins_cap) {
        unit->ins = ir_unit_grow(unit->ins, &unit->ins_cap, 1, sizeof(*unit->ins));
    }
    memset(unit->ins, 0, sizeof(*unit->ins));
    if (setjmp(p.fail)) {
        result = -EINVAL;
    } else {
        for (;;) {
            line(&p);
            if (!*p.at) {
                break;
            }
            p.at++;
            p.line++;
        }
        finish(&p);
    }
    free(p.names);
    free(p.defined);
    return result;
}
