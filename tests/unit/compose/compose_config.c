// SPDX-License-Identifier: Apache-2.0
/* compose_config: a Compose project in, its canonical form out, without the rest of Orlop. For
 * looking into a single case by hand, and for comparing whole directories by script. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "cli/compose/compose.h"
#include "proto/check.h"
#include "runtime/base/mem.h"

enum {
    NO_PATHS = 256,
    NO_ENV,
    NO_CONSISTENCY,
    PROFILE,
    ENV_FILE,
    YAML,
    MANIFEST,
    PERMISSIVE,
    KEYS,
    SCHEMA,
};

static const struct option long_options[] = {{"no-path-resolution", no_argument, NULL, NO_PATHS},
                                             {"no-env-resolution", no_argument, NULL, NO_ENV},
                                             {"no-consistency", no_argument, NULL, NO_CONSISTENCY},
                                             {"profile", required_argument, NULL, PROFILE},
                                             {"env-file", required_argument, NULL, ENV_FILE},
                                             {"yaml", no_argument, NULL, YAML},
                                             {"manifest", no_argument, NULL, MANIFEST},
                                             {"permissive", no_argument, NULL, PERMISSIVE},
                                             {"keys", no_argument, NULL, KEYS},
                                             {"schema", no_argument, NULL, SCHEMA},
                                             {0}};

struct want {
    struct compose_options o;
    bool yaml, manifest, keys, schema;
};

static int parse(struct want *w, int argc, char **argv) {
    int r = 0;
    for (int ch; r == 0 && (ch = getopt_long(argc, argv, "f:p:", long_options, NULL)) != -1;) {
        if (ch == 'f')
            r = strv_add(&w->o.files, optarg);
        else if (ch == 'p')
            w->o.project_name = optarg;
        else if (ch == PROFILE)
            r = strv_add(&w->o.profiles, optarg);
        else if (ch == ENV_FILE)
            r = strv_add(&w->o.env_files, optarg);
        else if (ch == '?')
            return -1;
        w->o.no_path_resolution |= ch == NO_PATHS;
        w->o.no_env_resolution |= ch == NO_ENV;
        w->o.no_consistency |= ch == NO_CONSISTENCY;
        w->yaml |= ch == YAML;
        w->manifest |= ch == MANIFEST;
        w->keys |= ch == KEYS;
        w->schema |= ch == SCHEMA;
        w->o.permissive |= ch == PERMISSIVE;
    }
    return r;
}

static void print_string(const char *s) {
    putchar('"');
    for (; *s; s++) printf(strchr("\"\\", *s) ? "\\%c" : (unsigned char) *s < ' ' ? " " : "%c", *s);
    putchar('"');
}

/* {"error": ...} of the first error, as the comparing script wants it. */
static void print_error(const struct compose_project *p) {
    const struct compose_issue *list;
    size_t n = compose_issues(p, &list), i = 0;
    while (i < n && list[i].warning) i++;
    if (i == n) return;
    printf("{\"error\": {\"kind\": \"%s\", ", list[i].kind);
    if (list[i].line) printf("\"line\": %u, \"column\": %u, ", list[i].line, list[i].column);
    printf("\"path\": ");
    print_string(list[i].path);
    printf(", \"message\": ");
    print_string(list[i].text);
    printf(", \"file\": ");
    print_string(list[i].file);
    puts("}}");
}

static int print(struct want *w, struct compose_project *p) {
    struct arena a;
    arena_init(&a, 64 << 20);
    int r = 0;
    if (w->manifest) {
        Orlop__App *app = NULL;
        r = compose_to_manifest(p, &a, &app);
        struct err err = {0};
        if (r == 0) r = check_app(app, &err);
        if (r == 0) printf("%s: %zu services\n", app->name, app->n_services);
        if (*err.text) fprintf(stderr, "check: %s\n", err.text);
    } else {
        r = w->yaml ? compose_print_yaml(p, stdout) : compose_print_json(p, stdout);
    }
    arena_fini(&a);
    return r;
}

int main(int argc, char **argv) {
    struct want w = {0};
    static char *const nothing[] = {NULL};
    w.o.environ = nothing;
    if (parse(&w, argc, argv) != 0) return 2;
    if (w.keys) {
        compose_print_keys(stdout);
        return 0;
    }
    if (w.schema) return compose_print_schema(stdout) < 0;
    struct compose_project *p = NULL;
    int r = compose_load(&w.o, &p);
    if (r == 0) r = print(&w, p);
    compose_print_issues(p, stderr);
    if (r < 0) print_error(p);
    compose_project_free(p);
    strv_fini(&w.o.files);
    strv_fini(&w.o.env_files);
    strv_fini(&w.o.profiles);
    return r < 0;
}
