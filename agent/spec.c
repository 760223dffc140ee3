// SPDX-License-Identifier: Apache-2.0
#include "agent/spec.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "runtime/base/mem.h"
#include "runtime/base/str.h"
#include "runtime/base/words.h"
#include "runtime/keeper/client.h"

enum {
    HEALTH_INTERVAL_MS = 30000,
    HEALTH_TIMEOUT_MS = 30000,
    HEALTH_START_INTERVAL_MS = 5000,
    HEALTH_RETRIES = 3,
};

struct words {
    char **v;
    size_t n;
};

static char **add_words(struct arena *a, char **to, char *const *from, size_t n) {
    for (size_t i = 0; i < n; i++) {
        *to = arena_strdup(a, from[i]);
        if (!*to++) return NULL;
    }
    return to;
}

/* An entrypoint that the service gives hides the image's command. */
static int merge_argv(struct arena *a, const Orlop__Service *s, const struct image_config *image,
                      struct spec_merged *m, struct err *err) {
    struct words entry = {image->entrypoint.v, image->entrypoint.n};
    struct words cmd = {image->cmd.v, image->cmd.n};
    if (s->has_entrypoint) {
        entry = (struct words){s->entrypoint, s->n_entrypoint};
        cmd = (struct words){NULL, 0};
    }
    if (s->has_command) cmd = (struct words){s->command, s->n_command};
    m->n_argv = entry.n + cmd.n;
    if (m->n_argv == 0)
        return err_say(err, -EINVAL,
                       "nothing to run: neither the image %s nor the service gives a command",
                       s->image);
    m->argv = arena_alloc(a, (m->n_argv + 1) * sizeof *m->argv);
    char **to = m->argv ? add_words(a, m->argv, entry.v, entry.n) : NULL;
    if (to) to = add_words(a, to, cmd.v, cmd.n);
    if (!to) return err_set(err, -ENOMEM, "command");
    if (!*m->argv[0])
        return err_say(err, -EINVAL, "nothing to run: the first word of the command is empty");
    return 0;
}

static size_t key_length(const char *assignment) {
    const char *eq = strchr(assignment, '=');
    return eq ? (size_t) (eq - assignment) : strlen(assignment);
}

/* The slot that holds KEY, or the next free one. */
static char **env_slot(struct spec_merged *m, const char *key, size_t len) {
    for (size_t i = 0; i < m->n_env; i++)
        if (key_length(m->env[i]) == len && memcmp(m->env[i], key, len) == 0) return &m->env[i];
    return &m->env[m->n_env++];
}

static char *assignment(struct arena *a, const char *key, const char *value) {
    size_t k = strlen(key), v = strlen(value);
    char *s = arena_alloc(a, k + v + 2);
    if (!s) return NULL;
    memcpy(s, key, k);
    s[k] = '=';
    memcpy(s + k + 1, value, v);
    return s;
}

static int merge_env(struct arena *a, const Orlop__TaskSpec *task, const struct image_config *image,
                     struct spec_merged *m, struct err *err) {
    const Orlop__Service *s = task->spec;
    char host[SPEC_HOSTNAME_MAX];
    if (image->env.n > KEEPER_WORDS_MAX) /* each is looked for among all before it */
        return err_say(err, -E2BIG, "the image's environment has %zu variables; at most %d",
                       image->env.n, KEEPER_WORDS_MAX);
    m->env = arena_alloc(a, (image->env.n + s->n_environment + 2) * sizeof *m->env);
    if (!m->env) return err_set(err, -ENOMEM, "environment");
    m->env[m->n_env++] = assignment(a, "HOSTNAME", spec_hostname(task, host));
    if (!m->env[0]) return err_set(err, -ENOMEM, "environment");
    for (size_t i = 0; i < image->env.n; i++) {
        const char *e = image->env.v[i];
        size_t len = key_length(e);
        if (len == 0 || !e[len]) continue; /* "K" without "=": Docker drops it, too */
        char *copy = arena_strdup(a, e);
        if (!copy) return err_set(err, -ENOMEM, "environment");
        *env_slot(m, e, len) = copy;
    }
    for (size_t i = 0; i < s->n_environment; i++) {
        const Orlop__KeyValue *kv = s->environment[i];
        char *made = assignment(a, kv->key, kv->value);
        if (!made) return err_set(err, -ENOMEM, "environment");
        *env_slot(m, kv->key, strlen(kv->key)) = made;
    }
    return 0;
}

static uint64_t or_else(uint64_t v, uint64_t image, uint64_t fallback) {
    return v ? v : image ? image : fallback;
}

/* ["CMD", ...], ["CMD-SHELL", text], ["NONE"] -> argv. */
static int probe_argv(struct arena *a, struct words test, struct spec_health *h, struct err *err) {
    static const char *const shell[] = {"/bin/sh", "-c"};
    bool through_shell = str_eq(test.v[0], "CMD-SHELL");
    if (str_eq(test.v[0], "NONE")) return 0;
    if ((!through_shell && !str_eq(test.v[0], "CMD")) || test.n < 2)
        return err_say(err, -EINVAL, "healthcheck: the test begins with '%s'", test.v[0]);
    size_t n = test.n - 1 + (through_shell ? 2 : 0);
    h->test = arena_alloc(a, (n + 1) * sizeof *h->test);
    if (!h->test) return err_set(err, -ENOMEM, "healthcheck");
    for (size_t i = 0; through_shell && i < array_len(shell); i++) {
        h->test[i] = arena_strdup(a, shell[i]);
        if (!h->test[i]) return err_set(err, -ENOMEM, "healthcheck");
    }
    char **to = add_words(a, h->test + (through_shell ? 2 : 0), test.v + 1, test.n - 1);
    if (!to) return err_set(err, -ENOMEM, "healthcheck");
    h->n_test = n;
    h->enabled = true;
    return 0;
}

static int merge_health(struct arena *a, const Orlop__Service *s, const struct image_config *image,
                        struct spec_merged *m, struct err *err) {
    static const Orlop__Healthcheck none = ORLOP__HEALTHCHECK__INIT;
    const Orlop__Healthcheck *own = s->healthcheck ? s->healthcheck : &none;
    if (own->disable) return 0;
    struct words test = {own->test, own->n_test};
    if (test.n == 0) test = (struct words){image->health_test.v, image->health_test.n};
    if (test.n == 0) return 0;
    struct spec_health *h = &m->health;
    h->interval_ms = or_else(own->interval_ms, image->health_interval_ms, HEALTH_INTERVAL_MS);
    h->timeout_ms = or_else(own->timeout_ms, image->health_timeout_ms, HEALTH_TIMEOUT_MS);
    h->start_period_ms = or_else(own->start_period_ms, image->health_start_period_ms, 0);
    h->start_interval_ms = or_else(own->start_interval_ms, 0, HEALTH_START_INTERVAL_MS);
    h->retries = (uint32_t) or_else(own->retries, image->health_retries, HEALTH_RETRIES);
    return probe_argv(a, test, h, err);
}

int spec_merge(struct arena *a, const Orlop__TaskSpec *task, const struct image_config *image,
               struct spec_merged *ret, struct err *err) {
    const Orlop__Service *s = task->spec;
    struct spec_merged m = {0};
    int r = merge_argv(a, s, image, &m, err);
    if (r == 0) r = merge_env(a, task, image, &m, err);
    if (r == 0) r = merge_health(a, s, image, &m, err);
    if (r < 0) return r;
    const char *cwd = !str_empty(s->working_dir) ? s->working_dir : image->working_dir;
    m.user = arena_strdup(a, !str_empty(s->user) ? s->user : image->user);
    m.cwd = arena_strdup(a, str_empty(cwd) ? "/" : cwd);
    if (!m.user || !m.cwd) return err_set(err, -ENOMEM, "user and working directory");
    const char *signal = !str_empty(s->stop_signal) ? s->stop_signal : image->stop_signal;
    m.stop_signal = words_signal(str_empty(signal) ? "SIGTERM" : signal, err);
    if (m.stop_signal < 0) return err_wrap(err, m.stop_signal, "stop signal");
    *ret = m;
    return 0;
}

const char *spec_task_name(const Orlop__TaskSpec *task, char buf[static SPEC_NAME_MAX]) {
    snprintf(buf, SPEC_NAME_MAX, "%.63s-%.63s-%u", task->app, task->service, task->slot);
    return buf;
}

const char *spec_hostname(const Orlop__TaskSpec *task, char buf[static SPEC_HOSTNAME_MAX]) {
    char name[SPEC_NAME_MAX];
    if (task->spec->host_uts && gethostname(buf, SPEC_HOSTNAME_MAX) == 0) {
        buf[SPEC_HOSTNAME_MAX - 1] = 0;
        return buf;
    }
    const char *own = task->spec->hostname;
    const char *h = str_empty(own) ? spec_task_name(task, name) : own;
    size_t n = strlen(h), at = n > SPEC_HOSTNAME_MAX - 2 ? n - (SPEC_HOSTNAME_MAX - 2) : 0;
    while (h[at] == '-' || h[at] == '.' || h[at] == '_') at++; /* its end tells replicas apart */
    snprintf(buf, SPEC_HOSTNAME_MAX, "%s", h + at);
    return buf;
}
