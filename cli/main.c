// SPDX-License-Identifier: Apache-2.0
/* The executable `orlop`: the command line, and the two daemons that are started by the anchor. The
 * daemons' mains are the one thing of scheduler/ and agent/ that cli/ knows. */
#include <signal.h>
#include <stdio.h>

#include "args.h"
#include "runtime/base/fd.h"
#include "runtime/base/mem.h"

#ifdef ORLOP_WITH_SCHEDULER
#include "scheduler/main.h"
#endif
#ifdef ORLOP_WITH_AGENT
#include "agent/main.h"
#endif

static const char intro[] = "usage: orlop [OPTIONS] VERB ...\n"
                            "\n"
                            "Deploys the services of a Compose file onto this machine.\n"
                            "\n"
                            "verbs:\n";

static const char outro[] =
    "\n"
    "options:\n"
    "  -f, --file FILE               Compose file (default: compose.yaml here or above)\n"
    "  -p, --project-name NAME       name of the app\n"
    "      --profile NAME, --env-file FILE, --project-directory DIR\n"
    "      --run-dir DIR             sockets (ORLOP_RUN_DIR; default /run/orlop)\n"
    "      --state-dir DIR           state (ORLOP_STATE_DIR; default /var/lib/orlop)\n"
    "\n"
    "exit codes: 0 done, 1 failed, 2 wrong usage, 3 wrong Compose file, 4 Orlop is not running,\n"
    "5 not found, 6 the app cannot become ready, 7 not permitted; exec: that of the command.\n"
    "\n"
    "'orlop VERB --help' tells more.\n";

static void print_help(FILE *out) {
    fputs(intro, out);
    for (const struct verb *v = cli_verbs; v->name; v++)
        fprintf(out, "  %-10s %s\n", v->name, v->summary);
    fputs(outro, out);
}

static int run_verb(struct cli *cli, const struct args *a) {
    if (a->n == 0) {
        print_help(stderr);
        return EXIT_USAGE;
    }
    for (const struct verb *v = cli_verbs; v->name; v++)
        if (str_eq(v->name, a->operands[0])) return v->run(cli, a->n, a->operands);
    return cli_fail(EXIT_USAGE, "there is no verb '%s'; 'orlop --help' lists them", a->operands[0]);
}

static int run_cli(int argc, char **argv) {
    struct cli cli = {0};
    struct args args = {0};
    (void) signal(SIGPIPE, SIG_IGN); /* a closed pipe is an error of the write */
    int r = args_parse_global(&cli, argc, argv, &args);
    if (r == ARGS_HELP)
        print_help(stdout);
    else if (r == 0)
        r = run_verb(&cli, &args);
    mem_free(args.operands);
    strv_fini(&cli.project.files);
    strv_fini(&cli.project.env_files);
    strv_fini(&cli.project.profiles);
    if (fflush(stdout) != 0 && r == EXIT_OK) r = EXIT_FAILED;
    return args_exit(r);
}

int main(int argc, char **argv) {
    fd_fill_standard();
#ifdef ORLOP_WITH_SCHEDULER
    if (argc > 1 && str_eq(argv[1], "scheduler")) return scheduler_main(argc - 1, argv + 1);
#endif
#ifdef ORLOP_WITH_AGENT
    if (argc > 1 && str_eq(argv[1], "agent")) return agent_main(argc - 1, argv + 1);
#endif
    return run_cli(argc, argv);
}
