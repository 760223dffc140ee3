// SPDX-License-Identifier: Apache-2.0
/* orlop-keeper ROLE [options]: anchor, keeper or proxy. Started by `orlop dev` and by the anchor.
 */
#include <errno.h>
#include <linux/close_range.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "anchor.h"
#include "keeper.h"
#include "process.h"
#include "proxy.h"
#include "runtime/base/fd.h"
#include "runtime/base/log.h"
#include "runtime/base/mem.h"
#include "runtime/base/str.h"
#include "runtime/base/sys.h"

enum { EXIT_USAGE = 2, ARGS_MAX = 32 };

struct options {
    const char *role, *state, *run, *orlop;
    bool sealed, no_scheduler, no_agent, no_proxy;
};

static const char usage_text[] =
    "usage: orlop-keeper anchor|keeper|proxy [options] [ORLOP]\n"
    "  --state-dir DIR   default $ORLOP_STATE_DIR or /var/lib/orlop\n"
    "  --run-dir DIR     default $ORLOP_RUN_DIR or /run/orlop\n"
    "  --orlop FILE, ORLOP   anchor: the executable of scheduler and agent (default: neither "
    "runs)\n"
    "  --no-scheduler  --no-agent  --no-proxy   anchor: leave a role out\n";

static const char **option_value(struct options *o, const char *arg) {
    if (str_eq(arg, "--state-dir")) return &o->state;
    if (str_eq(arg, "--run-dir")) return &o->run;
    if (str_eq(arg, "--orlop")) return &o->orlop;
    return NULL;
}

static bool *option_flag(struct options *o, const char *arg) {
    if (str_eq(arg, "--sealed")) return &o->sealed; /* ours: already started from the mount */
    if (str_eq(arg, "--no-scheduler")) return &o->no_scheduler;
    if (str_eq(arg, "--no-agent")) return &o->no_agent;
    if (str_eq(arg, "--no-proxy")) return &o->no_proxy;
    return NULL;
}

static bool parse(int argc, char **argv, struct options *o) {
    if (argc < 2 || argc > ARGS_MAX) return false;
    o->role = argv[1];
    for (int i = 2; i < argc; i++) {
        bool *flag = option_flag(o, argv[i]);
        const char **value = option_value(o, argv[i]);
        if (flag)
            *flag = true;
        else if (value && i + 1 < argc)
            *value = argv[++i];
        else if (argv[i][0] == '/' && !o->orlop)
            o->orlop = argv[i];
        else
            return false;
    }
    return true;
}

/* The same options for another role; ADD may be NULL. Lives as long as the process. */
static char **argv_for(char **argv, const char *role, const char *add) {
    char **out = mem_array(ARGS_MAX + 3, sizeof *out);
    if (!out) return NULL;
    size_t n = 0;
    out[n++] = argv[0];
    out[n++] = mem_strdup(role);
    for (char **a = argv + 2; *a; a++)
        if (!str_eq(*a, "--sealed")) out[n++] = *a;
    if (add) out[n++] = mem_strdup(add);
    return out[1] && (!add || out[n - 1]) ? out : NULL;
}

static int run_keeper(const struct options *o, char **argv) {
    if (!o->sealed) {
        struct err err = {0};
        char **again = argv_for(argv, "keeper", "--sealed");
        int r = again ? process_exec_sealed(again, &err) : -ENOMEM;
        log_error("keeper.start", "err=\"%s\"", r == -ENOMEM ? err_text(r) : err.text);
        return EXIT_FAILURE;
    }
    (void) sys_close_range(3, ~0U, CLOSE_RANGE_CLOEXEC); /* the lock of who became us (upgrade.c) */
    (void) prctl(PR_SET_NAME, "orlop-keeper"); /* started by descriptor, it would be called "3" */
    bool systemd = getenv("NOTIFY_SOCKET") || getenv("INVOCATION_ID");
    struct keeper_config cfg = {.state = o->state,
                                .run = o->run,
                                .argv = argv_for(argv, "keeper", NULL),
                                .anchor_argv = systemd ? NULL : argv_for(argv, "anchor", NULL)};
    return cfg.argv ? keeper_main(&cfg) : EXIT_FAILURE;
}

static int run_anchor(const struct options *o, char **argv) {
    struct anchor_config cfg = {.state = o->state,
                                .run = o->run,
                                .orlop = o->orlop,
                                .no_scheduler = o->no_scheduler,
                                .no_agent = o->no_agent,
                                .no_proxy = o->no_proxy,
                                .keeper_argv = argv_for(argv, "keeper", NULL)};
    return cfg.keeper_argv ? anchor_main(&cfg) : EXIT_FAILURE;
}

int main(int argc, char **argv) {
    fd_fill_standard();
    struct options o = {0};
    if (parse(argc, argv, &o)) {
        log_init("orlop-keeper");
        if (str_eq(o.role, "keeper")) return run_keeper(&o, argv);
        if (str_eq(o.role, "anchor")) return run_anchor(&o, argv);
        if (str_eq(o.role, "proxy")) {
            struct proxy_config cfg = {.state = o.state, .run = o.run};
            return proxy_main(&cfg);
        }
    }
    fputs(usage_text, stderr);
    return EXIT_USAGE;
}
