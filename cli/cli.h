// SPDX-License-Identifier: Apache-2.0
/* cli/cli.h - the verbs, and what all of them share.
 *
 * Role     a verb is `int cmd_<verb>(struct cli *cli, int argc, char **argv)`: argv[0] is the verb,
 *          the result an exit code, everything about a failure is printed before it returns.
 * Thread   one. Memory: the command line tool may abort when there is none.
 */
#ifndef ORLOP_CLI_H
#define ORLOP_CLI_H

#include <stdbool.h>
#include <stddef.h>

#include "exit_codes.h"
#include "runtime/base/err.h"
#include "runtime/base/paths.h"
#include "runtime/base/str.h"

/* What names a project; before or behind the verb. */
struct project_flags {
    struct strv files, env_files, profiles;
    const char *name, *directory;
};

struct cli {
    const char *run_dir, *state_dir; /* NULL: environment, default */
    struct paths paths;              /* valid after cli_paths() */
    struct project_flags project;
};

struct verb {
    const char *name;
    const char *summary;
    int (*run)(struct cli *cli, int argc, char **argv);
};

extern const struct verb cli_verbs[]; /* ends with a NULL name */

int cmd_app(struct cli *cli, int argc, char **argv);
int cmd_config(struct cli *cli, int argc, char **argv);
int cmd_dev(struct cli *cli, int argc, char **argv);
int cmd_down(struct cli *cli, int argc, char **argv);
int cmd_events(struct cli *cli, int argc, char **argv);
int cmd_exec(struct cli *cli, int argc, char **argv);
int cmd_image(struct cli *cli, int argc, char **argv);
int cmd_logs(struct cli *cli, int argc, char **argv);
int cmd_node(struct cli *cli, int argc, char **argv);
int cmd_ps(struct cli *cli, int argc, char **argv);
int cmd_restart(struct cli *cli, int argc, char **argv);
int cmd_scale(struct cli *cli, int argc, char **argv);
int cmd_task(struct cli *cli, int argc, char **argv);
int cmd_up(struct cli *cli, int argc, char **argv);
int cmd_version(struct cli *cli, int argc, char **argv);
int cmd_volume(struct cli *cli, int argc, char **argv);
int cmd_why(struct cli *cli, int argc, char **argv);

/* "orlop: <sentence>" on stderr. Returns CODE. */
int cli_fail(enum exit_code code, const char *fmt, ...) printf_like(2, 3);
/* The exit code for a negative errno of the scheduler or of ours. */
enum exit_code cli_exit_of(int code);
/* Fill cli->paths. An exit code; 0 = done. */
must_use int cli_paths(struct cli *cli);
/* `orlop GROUP VERB ...` */
int cli_group(struct cli *cli, int argc, char **argv, const struct verb *verbs);
/* The tool has no use for going on without memory. Returns P. */
#define need(p)                                                                                    \
    ({                                                                                             \
        __auto_type need__p_ = (p);                                                                \
        ensure(need__p_);                                                                          \
        need__p_;                                                                                  \
    })

#endif
