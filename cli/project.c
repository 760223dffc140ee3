// SPDX-License-Identifier: Apache-2.0
#include "project.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "runtime/base/mem.h"

static struct compose_options options_of(struct cli *cli, const struct compose_options *extra) {
    struct compose_options o = extra ? *extra : (struct compose_options){0};
    o.files = cli->project.files;
    o.env_files = cli->project.env_files;
    o.profiles = cli->project.profiles;
    o.project_name = cli->project.name;
    o.project_directory = cli->project.directory;
    o.environ = environ;
    return o;
}

int project_load(struct cli *cli, const struct compose_options *extra,
                 struct compose_project **ret) {
    struct compose_options o = options_of(cli, extra);
    struct compose_project *p = NULL;
    int r = compose_load(&o, &p);
    if (p) compose_print_issues(p, stderr);
    if (r == 0) {
        *ret = p;
        return 0;
    }
    if (!p) (void) cli_fail(EXIT_MANIFEST, "cannot read the Compose file: %s", err_text(r));
    compose_project_free(p);
    return EXIT_MANIFEST;
}

/* The one finding is that there is no file at all. */
static bool is_absent(const struct cli *cli, const struct compose_project *p) {
    const struct compose_issue *issues = NULL;
    if (!p || cli->project.files.n > 0 || compose_issues(p, &issues) != 1) return false;
    return issues[0].line == 0 && str_eq(issues[0].kind, "io") &&
           (str_empty(issues[0].file) || access(issues[0].file, F_OK) < 0);
}

/* Says nothing when there is simply no file. */
static int load_for_name(struct cli *cli, bool any, struct compose_project **ret) {
    struct compose_options o = options_of(cli, NULL);
    o.no_consistency = true;
    o.no_env_resolution = true;
    o.permissive = true;
    int r = compose_load(&o, ret);
    if (r == 0) return 0;
    bool absent = is_absent(cli, *ret);
    if (absent && any) return 0;
    if (*ret && !absent) compose_print_issues(*ret, stderr);
    return cli_fail(absent ? EXIT_USAGE : EXIT_MANIFEST,
                    absent ? "which app? There is no compose.yaml here or above; name it with -p"
                           : "the Compose file is wrong; -p NAME names an app without it");
}

int project_app(struct cli *cli, bool any, char **ret_name) {
    const char *env = getenv("COMPOSE_PROJECT_NAME");
    const char *given = cli->project.name ? cli->project.name : str_empty(env) ? NULL : env;
    *ret_name = NULL;
    if (given) {
        *ret_name = need(mem_strdup(given));
        return 0;
    }
    struct compose_project *p = NULL;
    int r = load_for_name(cli, any, &p);
    const char *name = r == 0 && p ? compose_name(p) : NULL;
    if (name) *ret_name = need(mem_strdup(name));
    compose_project_free(p);
    return r;
}
