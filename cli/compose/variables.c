// SPDX-License-Identifier: Apache-2.0
/* The variables that the files ask for, and what they are looked up in. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"

static int by_name(const void *a, const void *b) {
    const struct compose_variable *x = a, *y = b;
    return strcmp(x->name, y->name);
}

void cf_list_variables(struct compose_project *c) {
    uint32_t n = c->variables->n;
    struct compose_variable *list = cf_alloc(c, (n + 1) * sizeof *list);
    for (uint32_t i = 0; i < n; i++) {
        const struct cf_node *v = c->variables->entries[i].value;
        list[i] = (struct compose_variable){.name = c->variables->entries[i].key,
                                            .fallback = cf_get_str(v, "fallback"),
                                            .alternate = cf_get_str(v, "alternate"),
                                            .required = cf_get_bool(v, "required")};
    }
    qsort(list, n, sizeof *list, by_name);
    c->variable_list = list;
}

size_t compose_variables(const struct compose_project *c, const struct compose_variable **ret) {
    *ret = c->variable_list;
    return c->variable_list ? c->variables->n : 0;
}

/* The first of the chain that has a name says what it is. */
int compose_environment(const struct compose_project *c, struct strv *ret) {
    int r = 0;
    for (const struct cf_env *e = &c->env; e; e = e->next) {
        for (uint32_t i = 0; e->vars && i < e->vars->n && r == 0; i++) {
            const char *key = e->vars->entries[i].key, *v = cf_get_str(e->vars, key);
            if (!v || cf_env_get(&c->env, key) != v) continue;
            char *text = mem_printf("%s=%s", key, v);
            r = text ? strv_add(ret, text) : -ENOMEM;
            mem_free(text);
        }
    }
    strv_sort(ret);
    return r;
}
