// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <jansson.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "args.h"
#include "project.h"
#include "render.h"
#include "runtime/base/mem.h"

static const struct usage usage = {
    .line = "config [OPTIONS] [SERVICE...]",
    .summary =
        "Check a Compose file and print what it means: merged, interpolated, defaults filled in.\n"
        "Of the services named, and of what they depend on; without names of all.",
    .max = -1,
};

struct config {
    bool services, images, volumes, networks, profiles, quiet, schema, environment;
    const char *format, *hash, *output;
};

/* The canonical JSON as a tree; NULL after a failure. */
static json_t *tree_of(const struct compose_project *p) {
    char *text = NULL;
    size_t n = 0;
    FILE *f = need(open_memstream(&text, &n));
    int r = compose_print_json(p, f);
    if (fclose(f) != 0) r = -EIO;
    json_t *j = r == 0 ? json_loadb(text, n, 0, NULL) : NULL;
    mem_free(text);
    return j;
}

static void print_keys(json_t *tree, const char *section) {
    const char *key;
    json_t *value;
    json_object_foreach(json_object_get(tree, section), key, value) puts(key);
}

/* A service that is only built has the name that its image would get. */
static void print_images(json_t *tree) {
    const char *key, *name = json_string_value(json_object_get(tree, "name"));
    json_t *service;
    json_object_foreach(json_object_get(tree, "services"), key, service) {
        const char *image = json_string_value(json_object_get(service, "image"));
        if (image)
            puts(image);
        else
            printf("%s-%s\n", name, key);
    }
}

static int print_profiles(const struct compose_project *p) {
    struct strv list = {0};
    int r = compose_profiles(p, &list);
    for (size_t i = 0; i < list.n && !r; i++) puts(list.v[i]);
    strv_fini(&list);
    return r < 0 ? cli_fail(EXIT_FAILED, "cannot print it: %s", err_text(r)) : EXIT_OK;
}

/* SHA-256 of what makes a container of the service another one: not how many there are, what it
 * waits for, or how its image is made. */
static int print_hash(const char *name, json_t *service) {
    static const char *const left_out[] = {"build", "pull_policy", "scale", "depends_on",
                                           "profiles"};
    unsigned char sum[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    for (size_t i = 0; i < array_len(left_out); i++) json_object_del(service, left_out[i]);
    json_object_del(json_object_get(service, "deploy"), "replicas");
    char *text = need(json_dumps(service, JSON_COMPACT | JSON_SORT_KEYS));
    bool done = EVP_Digest(text, strlen(text), sum, &len, EVP_sha256(), NULL) == 1;
    free(text);
    if (!done) return cli_fail(EXIT_FAILED, "cannot make a digest");
    printf("%s ", name);
    for (unsigned i = 0; i < len; i++) printf("%02x", sum[i]);
    putchar('\n');
    return EXIT_OK;
}

/* LIST: names with commas between, or "*". */
static int print_hashes(json_t *tree, const char *list) {
    json_t *services = json_object_get(tree, "services"), *service;
    const char *name;
    int r = EXIT_OK;
    if (str_eq(list, "*")) {
        json_object_foreach(services, name, service) r = r ? r : print_hash(name, service);
        return r;
    }
    for (const char *at = list; *at && !r;) {
        size_t n = strcspn(at, ",");
        auto_free char *one = need(mem_strndup(at, n));
        service = json_object_get(services, one);
        r = service ? print_hash(one, service)
                    : cli_fail(EXIT_NOT_FOUND, "there is no service '%s'", one);
        at += n + (at[n] ? 1 : 0);
    }
    return r;
}

static json_t *text_or_null(const char *s) {
    return s ? json_string(s) : json_null();
}

static int print_variables_json(const struct compose_variable *v, size_t n) {
    json_t *list = need(json_object());
    for (size_t i = 0; i < n; i++) {
        json_t *o = need(json_object());
        json_object_set_new(o, "name", json_string(v[i].name));
        json_object_set_new(o, "required", json_boolean(v[i].required));
        json_object_set_new(o, "default", text_or_null(v[i].fallback));
        json_object_set_new(o, "alternate", text_or_null(v[i].alternate));
        json_object_set_new(list, v[i].name, o);
    }
    return render_json(list);
}

static int print_variables(const struct config *c, const struct compose_project *p) {
    static const char *const head[] = {"NAME", "REQUIRED", "DEFAULT VALUE", "ALTERNATE VALUE"};
    const struct compose_variable *v;
    size_t n = compose_variables(p, &v);
    struct table_out t;
    if (c->format && str_eq(c->format, "json")) return print_variables_json(v, n);
    table_begin(&t, head, array_len(head));
    for (size_t i = 0; i < n; i++) {
        table_cell(&t, "%s", v[i].name);
        table_cell(&t, "%s", v[i].required ? "true" : "false");
        table_cell(&t, "%s", v[i].fallback ? v[i].fallback : "");
        table_cell(&t, "%s", v[i].alternate ? v[i].alternate : "");
    }
    table_print(&t);
    return EXIT_OK;
}

static int print_environment(const struct compose_project *p) {
    struct strv list = {0};
    int r = compose_environment(p, &list);
    for (size_t i = 0; i < list.n && !r; i++) puts(list.v[i]);
    strv_fini(&list);
    return r < 0 ? cli_fail(EXIT_FAILED, "cannot print it: %s", err_text(r)) : EXIT_OK;
}

static int print_parts(const struct config *c, const struct compose_project *p) {
    int r = EXIT_OK;
    json_t *tree = tree_of(p);
    if (!tree) return cli_fail(EXIT_FAILED, "cannot print it");
    if (c->services) print_keys(tree, "services");
    if (c->images) print_images(tree);
    if (c->volumes) print_keys(tree, "volumes");
    if (c->networks) print_keys(tree, "networks");
    if (c->profiles) r = print_profiles(p);
    if (c->hash && !r) r = print_hashes(tree, c->hash);
    json_decref(tree);
    return r;
}

static bool wants_parts(const struct config *c) {
    return c->services || c->images || c->volumes || c->networks || c->profiles || c->hash;
}

static int print(const struct config *c, const struct compose_options *o,
                 const struct compose_project *p) {
    if (c->quiet) return EXIT_OK;
    if (o->variables) return print_variables(c, p);
    if (c->environment) return print_environment(p);
    if (wants_parts(c)) return print_parts(c, p);
    bool json = c->format && str_eq(c->format, "json");
    int r = json ? compose_print_json(p, stdout) : compose_print_yaml(p, stdout);
    return r < 0 ? cli_fail(EXIT_FAILED, "cannot print it: %s", err_text(r)) : EXIT_OK;
}

/* Of a whole project what `up` would say, too: the model is right, and yet may be more than this
 * version does. */
static void foresee(const struct config *c, const struct compose_options *o,
                    struct compose_project *p) {
    if (o->no_consistency || o->no_interpolate || o->variables) return;
    if (wants_parts(c) || c->environment) return;
    size_t n = compose_foresee(p);
    compose_print_issues(p, stderr);
    if (n)
        fprintf(stderr, "orlop: 'orlop up' will refuse this: %zu %s\n", n,
                n == 1 ? "finding" : "findings");
}

/* Nothing is opened before there is something to write. */
static int print_to(const struct config *c, const struct compose_options *o,
                    const struct compose_project *p) {
    if (c->output && !freopen(c->output, "we", stdout))
        return cli_fail(EXIT_FAILED, "cannot write %s: %s", c->output, err_text(-errno));
    int r = print(c, o, p);
    if (c->output && (ferror(stdout) || fflush(stdout) != 0))
        return cli_fail(EXIT_FAILED, "cannot write %s: %s", c->output, err_text(-errno));
    return r;
}

static int run(struct cli *cli, const struct config *c, const struct compose_options *o,
               const struct args *args) {
    struct compose_project *p = NULL;
    const char *missing = NULL;
    int r = project_load(cli, o, &p);
    if (r) return r;
    if (args->n && !o->variables) r = compose_select(p, args->operands, (size_t) args->n, &missing);
    if (missing) {
        r = cli_fail(EXIT_NOT_FOUND, "there is no service '%s'", missing);
    } else if (r < 0) {
        r = cli_fail(EXIT_MANIFEST, "cannot select services: %s", err_text(r));
    } else {
        foresee(c, o, p);
        r = print_to(c, o, p);
    }
    compose_project_free(p);
    return r;
}

int cmd_config(struct cli *cli, int argc, char **argv) {
    struct config c = {0};
    struct compose_options extra = {0};
    struct args args;
    const struct opt opts[] = {
        {0, "format", "yaml|json", OPT_TEXT, &c.format, "how to print"},
        {'q', "quiet", NULL, OPT_FLAG, &c.quiet, "only check"},
        {0, "services", NULL, OPT_FLAG, &c.services, "only the names of services"},
        {0, "images", NULL, OPT_FLAG, &c.images, "only the names of images"},
        {0, "volumes", NULL, OPT_FLAG, &c.volumes, "only the names of volumes"},
        {0, "networks", NULL, OPT_FLAG, &c.networks, "only the names of networks"},
        {0, "profiles", NULL, OPT_FLAG, &c.profiles, "only the names of profiles"},
        {0, "hash", "SERVICES", OPT_TEXT, &c.hash,
         "a digest of each service's own part: names with commas between, or '*'"},
        {0, "variables", NULL, OPT_FLAG, &extra.variables,
         "the variables that the files ask for, with their defaults"},
        {0, "environment", NULL, OPT_FLAG, &c.environment,
         "what variables are looked up in: the environment and the env files"},
        {'o', "output", "FILE", OPT_TEXT, &c.output, "write to FILE instead"},
        {0, "schema", NULL, OPT_FLAG, &c.schema, "a JSON schema of what is accepted, for editors"},
        {0, "no-interpolate", NULL, OPT_FLAG, &extra.no_interpolate,
         "leave $VARIABLES as they are"},
        {0, "no-path-resolution", NULL, OPT_FLAG, &extra.no_path_resolution,
         "leave relative paths"},
        {0, "no-env-resolution", NULL, OPT_FLAG, &extra.no_env_resolution, "do not read env_file"},
        {0, "no-consistency", NULL, OPT_FLAG, &extra.no_consistency, "do not check references"},
        {0, "permissive", NULL, OPT_FLAG, &extra.permissive,
         "list what `up --permissive` would drop"},
        {0},
    };
    int r = args_parse(cli, &usage, opts, true, argc, argv, &args);
    if (r) return args_exit(r);
    for (int i = 0; i < args.n; i++) ensure(strv_add(&extra.services, args.operands[i]) == 0);
    if (c.format && !str_eq(c.format, "yaml") && !str_eq(c.format, "json")) {
        r = args_wrong(&usage, "--format: '%s' is neither 'yaml' nor 'json'", c.format);
    } else if (c.schema) {
        r = compose_print_schema(stdout);
        if (r < 0) r = cli_fail(EXIT_FAILED, "cannot print it: %s", err_text(r));
    } else {
        r = run(cli, &c, &extra, &args);
    }
    strv_fini(&extra.services);
    mem_free(args.operands);
    return r;
}
