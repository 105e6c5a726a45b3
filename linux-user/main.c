/* tinamou-ARCH: runs a guest's Linux program. Options, start of the parts in their order, and go.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "accel/tcg/tcg.h"
#include "linux-user/abi.h"
#include "linux-user/elf.h"
#include "linux-user/exec.h"
#include "linux-user/mm.h"
#include "linux-user/options.h"
#include "linux-user/path.h"
#include "linux-user/signal.h"
#include "linux-user/symbols.h"
#include "linux-user/thread.h"
#include "linux-user/user.h"
#include "util/error.h"
#include "util/log.h"

#define FLAGS_PRESERVE_ARGV0 1 /* AT_FLAGS: binfmt_misc's flag P */
#define STACK_DEFAULT        (8 << 20)
#define STACK_MAX            (1 << 30)

/* Sanitizers keep shadows where guests like to be: there, guest memory has a place of its own. */
#if defined(__SANITIZE_THREAD__)
#define DEFAULT_BASE 0x1000000000ull
#define DEFAULT_SIZE 0x6000000000ull
#elif defined(__SANITIZE_ADDRESS__)
#define DEFAULT_BASE 0x110000000000ull
#define DEFAULT_SIZE 0x400000000000ull
#else
#define DEFAULT_BASE 0ull
#define DEFAULT_SIZE 0ull
#endif

static int explain(const struct options *options)
{
    char *end;
    uint32_t bits;
    unsigned long long value = strtoull(options->explain, &end, 16);

    if (end == options->explain || *end != 0 || value > UINT32_MAX) {
        error_fatal("--explain %s: expected an instruction in hexadecimal", options->explain);
    }
    bits = (uint32_t)value;
    if (tcg_explain(abi_target, options->cpu_model, &bits, abi_insn_length(bits), stdout) < 0) {
        error_fatal("--explain %s: no instruction of -cpu %s", options->explain,
                    options->cpu_model);
    }
    return 0;
}

static uint64_t default_stack(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_STACK, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY ||
        limit.rlim_cur < STACK_DEFAULT / 8) {
        return STACK_DEFAULT;
    }
    return limit.rlim_cur > STACK_MAX ? STACK_MAX : limit.rlim_cur & MM_PAGE_MASK;
}

/* What the process shows of itself: the guest's name, not ours. */
static void set_name(void)
{
    const char *slash = strrchr(user_process.exe_path, '/');

    prctl(PR_SET_NAME, slash != NULL ? slash + 1 : user_process.exe_path, 0, 0, 0);
}

static void start_translator(const struct options *options)
{
    const struct tcg_config config = {
        .backend = strcmp(options->jit, "interp") == 0 ? TCG_BACKEND_INTERP : TCG_BACKEND_HOST,
        .options = options->optimisations,
        .one_insn = options->one_insn,
        .guest_base = mem_guest_base,
        .code_size = (size_t)options->tb_size << 20,
        .fetchable = mm_fetchable,
        .syscall = user_syscall,
        .perfmap = options->perfmap,
        .jitdump = options->jitdump,
        .symbol = symbols_find,
        .forget_symbols = symbols_forget,
        .reserve_fd = user_fd_reserve,
    };
    char error[256];

    if (tcg_init(&config, error, sizeof(error)) < 0) {
        error_fatal("%s", error);
    }
}

static void open_log(const struct options *options)
{
    int result;

    if (options->log_file != NULL && (result = log_open(options->log_file)) < 0) {
        error_fatal("-D %s: %s", options->log_file, strerror(-result));
    }
    log_set_mask(options->log_mask);
    user_process.strace = options->strace || options->log_mask & LOG_STRACE;
}

/* Whether binfmt_misc without flags started us: it puts the file executed first. */
static bool started_for(int argc, char **argv)
{
    const char *name = (const char *)getauxval(AT_EXECFN);

    return name != NULL && argc > 1 && strcmp(argv[1], name) == 0;
}

int main(int argc, char **argv, char **envp)
{
    const bool preserve_argv0 = (getauxval(AT_FLAGS) & FLAGS_PRESERVE_ARGV0) != 0;
    const unsigned long exec_fd = getauxval(AT_EXECFD);
    struct elf_program program;
    struct options options;
    struct user_thread *t;
    char error[ELF_ERROR_SIZE];
    struct cpu *cpu;
    int result;

    error_set_program(argc > 0 ? argv[0] : "tinamou");
    options_parse(&options, argc, argv, envp, preserve_argv0);
    if (options.explain != NULL) {
        return explain(&options);
    }
    open_log(&options);
    mem_guest_base = options.guest_base != 0 ? options.guest_base : DEFAULT_BASE;
    mm_init(options.reserved_va != 0 ? options.reserved_va : DEFAULT_SIZE);
    result = user_path_init(options.ld_prefix);
    if (result < 0) {
        error_fatal("-L %s: %s", options.ld_prefix, strerror(-result));
    }
    start_translator(&options);
    cpu = user_accel->cpu_create(abi_target);
    if (cpu == NULL) {
        error_fatal("out of memory");
    }
    if (abi_target->set_model(cpu, options.cpu_model, error, sizeof(error)) < 0) {
        error_fatal("-cpu %s: %s", options.cpu_model, error);
    }

    user_process.uname_release = options.uname_release;
    user_process.stack_size = options.stack_size != 0 ? options.stack_size : default_stack();
    user_process.seed = options.seed;
    user_process.seeded = options.seeded;
    user_process.exec_prefix =
        options_exec_prefix(&options, user_process.ld_prefix, &user_process.exec_prefix_count);
    user_process.by_binfmt = preserve_argv0 || exec_fd != 0 || started_for(argc, argv);
    result = exec_own_fd(user_process.by_binfmt);
    user_process.host_exe_fd = result >= 0 ? user_fd_reserve(result) : -1;

    t = thread_main(cpu);
    if (t == NULL) {
        error_fatal("out of memory");
    }
    result = signal_init(t);
    if (result < 0) {
        error_fatal("signals: %s", strerror(-result));
    }
    program = (struct elf_program){
        .path = options.program,
        .fd = exec_fd != 0 ? (int)exec_fd : -1,
        .argv = options.arguments,
        .envp = options.environment,
        .preserve_argv0 = preserve_argv0,
    };
    result = elf_load(cpu, &program, error, sizeof(error));
    if (result != 0) {
        error_exit(result, "%s", error);
    }
    set_name();
    user_run(t);
}
