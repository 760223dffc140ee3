// SPDX-License-Identifier: Apache-2.0
#include <errno.h>

#include "check.h"
#include "check_service.h"
#include "runtime/base/str.h"
#include "value.h"

static int check_names(char *const *list, size_t n, size_t *total, struct err *err) {
    *total += n;
    if (*total > CHECK_SECCOMP_NAMES_MAX)
        return err_say(err, -EINVAL, "seccomp: more than %d names", CHECK_SECCOMP_NAMES_MAX);
    for (size_t i = 0; i < n; i++)
        if (!*list[i] || strlen(list[i]) > CHECK_SECCOMP_NAME_MAX)
            return err_say(err, -EINVAL, "seccomp: \"%.80s\" is no name", list[i]);
    return 0;
}

static int check_condition(const Orlop__SeccompCondition *c, size_t *total, struct err *err) {
    int r = c ? check_names(c->caps, c->n_caps, total, err) : 0;
    return c && r == 0 ? check_names(c->arches, c->n_arches, total, err) : r;
}

static int check_seccomp_rule(const Orlop__SeccompRule *u, size_t *total, struct err *err) {
    int r = value_seccomp_action(u->action, err);
    if (r == 0) r = check_names(u->names, u->n_names, total, err);
    if (r == 0) r = check_condition(u->includes, total, err);
    if (r == 0) r = check_condition(u->excludes, total, err);
    if (r < 0) return r;
    if (u->n_args > CHECK_SECCOMP_ARGS_MAX || u->errno_ret > CHECK_SECCOMP_ERRNO_MAX)
        return err_say(err, -EINVAL, "seccomp: a rule is out of range");
    for (size_t i = 0; i < u->n_args && r == 0; i++)
        r = u->args[i]->index < CHECK_SECCOMP_ARGS_MAX
                ? value_seccomp_operator(u->args[i]->op, err)
                : err_say(err, -EINVAL, "seccomp: system calls have six arguments");
    return r;
}

int check__seccomp(const Orlop__SeccompProfile *p, struct err *err) {
    size_t total = 0;
    if (!p) return 0;
    int r = value_seccomp_action(p->default_action, err);
    if (r == 0 && (p->n_rules > CHECK_LIST_MAX || p->default_errno > CHECK_SECCOMP_ERRNO_MAX))
        r = err_say(err, -EINVAL, "seccomp: more than %d rules, or an odd default", CHECK_LIST_MAX);
    for (size_t i = 0; i < p->n_rules && r == 0; i++)
        r = check_seccomp_rule(p->rules[i], &total, err);
    return r;
}
