// SPDX-License-Identifier: Apache-2.0
/* What a task has of the machine. */
#include <string.h>

#include "manifest.h"

/* Of "name:value" and "name=value", the value, when NAME is the name. */
static const char *option(const char *text, const char *name) {
    size_t len = strlen(name);
    if (strncmp(text, name, len) != 0) return NULL;
    if (!text[len]) return "true";
    return text[len] == ':' || text[len] == '=' ? text + len + 1 : NULL;
}

/* These three are so anyway. */
static bool is_so(const char *text) {
    const char *privileges = option(text, "no-new-privileges"),
               *apparmor = option(text, "apparmor"), *label = option(text, "label");
    return (privileges && str_eq(privileges, "true")) ||
           (apparmor && str_eq(apparmor, "unconfined")) || (label && str_eq(label, "disable"));
}

void cf_m_runtime(struct cf_manifest *m, const struct cf_node *n) {
    const struct cf_node *list = cf_get(n, "security_opt");
    for (uint32_t i = 0; list && i < list->n; i++)
        if (!is_so(list->items[i]->s))
            cf_refuse(m->c, list->items[i], "security option \"%.100s\" is not supported",
                      list->items[i]->s);
}
