// SPDX-License-Identifier: Apache-2.0
#include "constraint.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "runtime/base/mem.h"
#include "runtime/base/str.h"

static const char label_keys[][16] = {"node.labels.", "engine.labels."};

static bool is_label(const char *key) {
    for (size_t i = 0; i < array_len(label_keys); i++)
        if (str_starts(key, label_keys[i]) && key[strlen(label_keys[i])]) return true;
    return false;
}

static bool is_known(const char *key) {
    static const char *const keys[] = {"node.id", "node.hostname", "node.role", "node.platform.os",
                                       "node.platform.arch"};
    for (size_t i = 0; i < array_len(keys); i++)
        if (str_eq(key, keys[i])) return true;
    return is_label(key);
}

/* [FROM, TO) without blanks around it. */
static bool take(const char *from, const char *to, char ret[static CONSTRAINT_TEXT_MAX]) {
    while (from < to && *from == ' ') from++;
    while (to > from && to[-1] == ' ') to--;
    size_t n = (size_t) (to - from);
    if (!n || n >= CONSTRAINT_TEXT_MAX) return false;
    memcpy(ret, from, n);
    ret[n] = '\0';
    return true;
}

int constraint_parse(const char *text, struct constraint *ret, struct err *err) {
    const char *eq = strstr(text, "=="), *ne = strstr(text, "!="), *op = eq ? eq : ne;
    if (eq && ne && ne < eq) op = ne;
    *ret = (struct constraint){.differs = op && *op == '!'};
    if (!op || !take(text, op, ret->key) || !take(op + 2, text + strlen(text), ret->value))
        return err_say(err, -EINVAL,
                       "\"%.80s\" is no constraint: write KEY == VALUE or KEY != VALUE", text);
    if (!is_known(ret->key))
        return err_say(err, -EINVAL,
                       "\"%.80s\" is nothing of a node: id, hostname, role, platform.os, "
                       "platform.arch and labels.NAME are",
                       ret->key);
    return 0;
}

/* Other systems have their own word for an architecture. */
static bool same_arch(const char *a, const char *b) {
    static const char *const names[][2] = {{"amd64", "x86_64"}, {"arm64", "aarch64"}};
    for (size_t i = 0; i < array_len(names); i++) {
        if (strcasecmp(a, names[i][0]) == 0) a = names[i][1];
        if (strcasecmp(b, names[i][0]) == 0) b = names[i][1];
    }
    return strcasecmp(a, b) == 0;
}

/* The schedulers' own node is a manager, and this version has no other. Nodes have no labels yet. */
static bool is(const struct constraint *c, const struct constraint_node *n) {
    if (str_eq(c->key, "node.id")) return str_eq(c->value, n->id);
    if (str_eq(c->key, "node.hostname")) return strcasecmp(c->value, n->hostname) == 0;
    if (str_eq(c->key, "node.role")) return strcasecmp(c->value, "manager") == 0;
    if (str_eq(c->key, "node.platform.os")) return strcasecmp(c->value, "linux") == 0;
    if (str_eq(c->key, "node.platform.arch")) return same_arch(c->value, n->arch);
    return false;
}

bool constraint_holds(const struct constraint *c, const struct constraint_node *n) {
    return is(c, n) != c->differs;
}
