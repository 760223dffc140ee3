// SPDX-License-Identifier: Apache-2.0
/* cli/args.h - options from a table, which is also their help text.
 *
 * Role     "-f x", "-fx", "--file x", "--file=x", bundles ("-it"), "--" ends options. Options and
 *          operands may be mixed unless ARGS_STOP (exec: what follows belongs to the command).
 * Thread   one.
 */
#ifndef ORLOP_CLI_ARGS_H
#define ORLOP_CLI_ARGS_H

#include <stdbool.h>

#include "cli.h"

enum opt_kind {
    OPT_FLAG = 1, /* bool: true */
    OPT_CLEAR,    /* bool: false */
    OPT_TEXT,     /* const char * */
    OPT_LIST,     /* struct strv, may be given again */
    OPT_NUMBER,   /* uint32_t */
};

struct opt {
    char letter;       /* 0 = none */
    const char *name;  /* without "--"; NULL = none */
    const char *value; /* how the help calls the value; NULL for flags */
    enum opt_kind kind;
    void *to;
    const char *help; /* NULL: accepted, not shown */
};

struct usage {
    const char *line; /* "up [OPTIONS] [SERVICE...]" */
    const char *summary;
    int min, max; /* operands; max -1: any number */
    bool stop_at_operand;
};

struct args {
    char **operands; /* NULL at the end */
    int n;
};

enum { ARGS_HELP = -1 }; /* help was asked for and printed: the verb returns 0 */

/* Parse ARGV[1..]. OPTS ends with a kind of 0; PROJECT adds -f -p --profile --env-file
 * --project-directory, --run-dir and --state-dir are always there. 0; ARGS_HELP; EXIT_USAGE with
 * the reason and the usage line printed. */
must_use int args_parse(struct cli *cli, const struct usage *u, const struct opt *opts,
                        bool project, int argc, char **argv, struct args *ret);
/* Used by main for what stands before the verb. */
must_use int args_parse_global(struct cli *cli, int argc, char **argv, struct args *ret);
/* Prints what is wrong and the usage line. Returns EXIT_USAGE. */
int args_wrong(const struct usage *u, const char *fmt, ...) printf_like(2, 3);
/* Wherever ARGS_HELP may come: the exit code. */
static inline int args_exit(int r) {
    return r == ARGS_HELP ? EXIT_OK : r;
}
/* --format table|json. 0 or EXIT_USAGE. */
must_use int args_format(const struct usage *u, const char *format, bool *ret_json);

#endif
