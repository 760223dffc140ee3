// SPDX-License-Identifier: Apache-2.0
/* The first byte chooses one of the small parsers; the rest is its text, up to a NUL:
 * interpolation, env files, durations, sizes, ports, volumes, commands, paths. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "cli/compose/schema.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
    const uint8_t *data;
    size_t size;
};

static void dotenv(struct compose_project *c, const struct input *in, const struct cf_env *env) {
    int64_t file = cf_file_of_text(c, "fuzz", ".", (const char *) in->data + 1, in->size - 1);
    struct cf_node *vars = cf_new(c, CF_MAP, NULL);
    if (!cf_dotenv(c, (uint32_t) file, env, in->data[0] & 8, vars)) ensure(c->n_errors > 0);
    for (uint32_t i = 0; i < vars->n; i++) ensure(!strpbrk(vars->entries[i].key, " =\n"));
}

static void path(struct compose_project *c, const char *s) {
    const char *clean = cf_path_clean(c, s);
    ensure(*clean && str_eq(clean, cf_path_clean(c, clean)));
    ensure(!strstr(clean, "//") && !(*clean == '/' && strstr(clean, "/../")));
}

static void run(struct compose_project *c, void *arg) {
    const struct input *in = arg;
    const char *s = cf_strndup(c, (const char *) in->data + 1, in->size - 1);
    struct cf_node *vars = cf_new(c, CF_MAP, NULL), *list = cf_new(c, CF_SEQ, NULL), *o;
    cf_put(c, vars, "A", cf_new_str(c, "a$B", NULL));
    cf_put(c, vars, "E", cf_new_str(c, "", NULL));
    struct cf_env env = {.vars = vars};
    const char *ignored;
    int64_t v;
    switch (in->data[0] % 8) {
    case 0:
        if (!cf_interpolate(c, s, &env, NULL)) ensure(c->n_errors == 1);
        break;
    case 1:
        dotenv(c, in, &env);
        break;
    case 2:
        if (!cf_parse_duration(s, &v)) ensure(*s);
        break;
    case 3:
        if (!cf_parse_size(s, &v)) ensure(v >= 0);
        break;
    case 4:
        if (!cf_parse_port(c, s, NULL, list)) ensure(list->n >= 1 && list->n <= 65535);
        break;
    case 5:
        if (!cf_parse_volume(c, s, NULL, &o, &ignored)) ensure(cf_get_str(o, "target"));
        break;
    case 6:
        (void) cf_split_command(c, s, NULL, list); /* only that it ends */
        break;
    default:
        path(c, s);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct input in = {data, size};
    if (!size) return 0;
    struct compose_project *c = cf_project_new();
    (void) cf_guard(c, run, &in); /* no memory is an answer */
    compose_project_free(c);
    return 0;
}
