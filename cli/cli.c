// SPDX-License-Identifier: Apache-2.0
#include "cli.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "args.h"
#include "runtime/base/mem.h"

const struct verb cli_verbs[] = {
    {"dev", "run Orlop on this machine, or stop it", cmd_dev},
    {"up", "deploy the app of a Compose file and wait until it runs", cmd_up},
    {"down", "remove an app", cmd_down},
    {"ps", "list the containers of an app", cmd_ps},
    {"logs", "show what containers print", cmd_logs},
    {"exec", "run a command in a container", cmd_exec},
    {"scale", "change how many replicas a service has", cmd_scale},
    {"restart", "restart services", cmd_restart},
    {"config", "check a Compose file and show what it means", cmd_config},
    {"why", "explain why something does not run", cmd_why},
    {"events", "show what happens", cmd_events},
    {"app", "list apps", cmd_app},
    {"task", "list and inspect tasks", cmd_task},
    {"node", "list and inspect nodes", cmd_node},
    {"image", "list, import, inspect and remove images", cmd_image},
    {"volume", "list and remove volumes", cmd_volume},
    {"version", "show the version", cmd_version},
    {0},
};

int cli_fail(enum exit_code code, const char *fmt, ...) {
    va_list ap;
    char *text = NULL;
    va_start(ap, fmt);
    ensure(vasprintf(&text, fmt, ap) >= 0);
    va_end(ap);
    str_make_printable(text, "\n\t");
    fflush(stdout);
    fprintf(stderr, "orlop: %s\n", text);
    mem_free(text);
    return (int) code;
}

enum exit_code cli_exit_of(int code) {
    switch (code < 0 ? -code : code) {
    case 0:
        return EXIT_OK;
    case ENOENT:
        return EXIT_NOT_FOUND;
    case EPERM:
    case EACCES:
        return EXIT_NOT_PERMITTED;
    case ENOTCONN:
    case ECONNRESET:
    case ECONNREFUSED:
        return EXIT_NOT_RUNNING;
    default:
        return EXIT_FAILED;
    }
}

int cli_paths(struct cli *cli) {
    struct err err = {0};
    if (paths_init(&cli->paths, cli->state_dir, cli->run_dir, &err) == 0) return 0;
    return cli_fail(EXIT_USAGE, "%s", err.text);
}

static void print_verbs(FILE *out, const struct verb *verbs) {
    for (const struct verb *v = verbs; v->name; v++)
        fprintf(out, "  %-10s %s\n", v->name, v->summary);
}

int cli_group(struct cli *cli, int argc, char **argv, const struct verb *verbs) {
    const char *verb = argc > 1 ? argv[1] : NULL;
    bool help = verb && (str_eq(verb, "--help") || str_eq(verb, "-h"));
    for (const struct verb *v = verbs; verb && v->name; v++)
        if (str_eq(v->name, verb)) return v->run(cli, argc - 1, argv + 1);
    FILE *out = help ? stdout : stderr;
    if (verb && !help) fprintf(out, "orlop: there is no verb '%s %s'\n", argv[0], verb);
    fprintf(out, "usage: orlop %s VERB [OPTIONS]\n\nverbs:\n", argv[0]);
    print_verbs(out, verbs);
    fprintf(out, "\n'orlop %s VERB --help' tells more.\n", argv[0]);
    return help ? EXIT_OK : EXIT_USAGE;
}
