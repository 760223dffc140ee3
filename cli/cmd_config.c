// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "args.h"
#include "project.h"
#include "runtime/base/mem.h"

static const struct usage usage = {
    .line = "config [OPTIONS]",
    .summary =
        "Check a Compose file and print what it means: merged, interpolated, defaults filled in.",
};

struct config {
    bool services, images, volumes, networks, quiet, schema;
    const char *format;
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

static void print_images(json_t *tree) {
    const char *key;
    json_t *service;
    json_object_foreach(json_object_get(tree, "services"), key, service) {
        const char *image = json_string_value(json_object_get(service, "image"));
        if (image) puts(image);
    }
}

static int print(const struct config *c, const struct compose_project *p) {
    bool names = c->services || c->images || c->volumes || c->networks;
    if (c->quiet) return EXIT_OK;
    if (!names) {
        bool json = c->format && str_eq(c->format, "json");
        int r = json ? compose_print_json(p, stdout) : compose_print_yaml(p, stdout);
        return r < 0 ? cli_fail(EXIT_FAILED, "cannot print it: %s", err_text(r)) : EXIT_OK;
    }
    json_t *tree = tree_of(p);
    if (!tree) return cli_fail(EXIT_FAILED, "cannot print it");
    if (c->services) print_keys(tree, "services");
    if (c->images) print_images(tree);
    if (c->volumes) print_keys(tree, "volumes");
    if (c->networks) print_keys(tree, "networks");
    json_decref(tree);
    return EXIT_OK;
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
        {0, "schema", NULL, OPT_FLAG, &c.schema, "a JSON schema of what is accepted, for editors"},
        {0, "no-interpolate", NULL, OPT_FLAG, &extra.no_interpolate,
         "leave $VARIABLES as they are"},
        {0, "no-path-resolution", NULL, OPT_FLAG, &extra.no_path_resolution,
         "leave relative paths"},
        {0, "no-env-resolution", NULL, OPT_FLAG, &extra.no_env_resolution, "do not read env_file"},
        {0, "no-consistency", NULL, OPT_FLAG, &extra.no_consistency, "do not check references"},
        {0, "permissive", NULL, OPT_FLAG, &extra.permissive, "what is not supported is a warning"},
        {0},
    };
    int r = args_parse(cli, &usage, opts, true, argc, argv, &args);
    if (r) return args_exit(r);
    mem_free(args.operands);
    if (c.format && !str_eq(c.format, "yaml") && !str_eq(c.format, "json"))
        return args_wrong(&usage, "--format: '%s' is neither 'yaml' nor 'json'", c.format);
    if (c.schema) {
        r = compose_print_schema(stdout);
        return r < 0 ? cli_fail(EXIT_FAILED, "cannot print it: %s", err_text(r)) : EXIT_OK;
    }
    struct compose_project *p = NULL;
    r = project_load(cli, &extra, &p);
    if (r) return r;
    r = print(&c, p);
    compose_project_free(p);
    return r;
}
