// SPDX-License-Identifier: Apache-2.0
#include "process.h"

#include <errno.h>
#include <string.h>

#include "runtime/base/mem.h"
#include "runtime/base/str.h"

enum { ENV_SPARE = 3 }; /* HOME, PATH, TERM */

static char **string_array(char *const *from, size_t n, size_t spare) {
    char **a = mem_array(n + spare + 1, sizeof *a);
    if (a && n) memcpy(a, from, n * sizeof *a);
    return a;
}

int process__init(struct process *p, char *const *argv, size_t n_argv, char *const *env,
                  size_t n_env, struct err *err) {
    *p = (struct process){.seccomp_fd = -1, .stdio = {-1, -1, -1}, .status_fd = -1, .go_fd = -1};
    if (n_argv == 0 || str_empty(argv[0])) return err_say(err, -EINVAL, "there is no command");
    if (n_argv > PROCESS_STRINGS_MAX || n_env > PROCESS_STRINGS_MAX)
        return err_say(err, -E2BIG, "more than %d arguments or variables", PROCESS_STRINGS_MAX);
    p->argv = string_array(argv, n_argv, 0);
    p->env = string_array(env, n_env, ENV_SPARE);
    p->n_env = n_env;
    if (p->argv && p->env) return 0;
    process__fini(p);
    return err_set(err, -ENOMEM, "arguments");
}

void process__fini(struct process *p) {
    mem_free(p->argv);
    mem_free(p->env);
    p->argv = NULL;
    p->env = NULL;
}

static size_t env_index(const struct process *p, const char *name) {
    size_t len = strlen(name);
    for (size_t i = p->n_env; i-- > 0;) /* the last one wins, as in a shell */
        if (strncmp(p->env[i], name, len) == 0 && p->env[i][len] == '=') return i;
    return SIZE_MAX;
}

const char *process__env(const struct process *p, const char *name) {
    size_t i = env_index(p, name);
    return i == SIZE_MAX ? NULL : p->env[i] + strlen(name) + 1;
}

static void set_default(struct process *p, const char *name, char *assignment) {
    size_t i = env_index(p, name);
    if (i == SIZE_MAX)
        p->env[p->n_env++] = assignment;
    else if (p->env[i][strlen(name) + 1] == 0)
        p->env[i] = assignment;
}

void process__complete_env(struct process *p) {
    static char path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    static char term[] = "TERM=xterm";
    memcpy(p->home, "HOME=", 5);
    memcpy(p->home + 5, p->who.home, strlen(p->who.home) + 1);
    set_default(p, "HOME", p->home);
    set_default(p, "PATH", path);
    if (p->tty) set_default(p, "TERM", term);
}
