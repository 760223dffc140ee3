// SPDX-License-Identifier: Apache-2.0
/* Happy path   timer -> pipe and exec through the keeper -> output read -> exit -> verdict ->
 *              event.
 * Timeout      the probe is abandoned (killed by the keeper) and counts as failed.
 * Keeper gone  the probe is killed with it; counts as nothing, the next one follows soon.
 */
#include "agent/health.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/confine.h"
#include "runtime/base/clock.h"
#include "runtime/base/fd.h"
#include "runtime/base/log.h"
#include "runtime/base/mem.h"

enum { LATER_MS = 200, OUTPUT_READ = 4096 };

struct watch {
    char task[TASK_ID_MAX];
    uint32_t attempt;
    struct health *health;
    struct arena arena;
    struct spec_health spec; /* copied: the prepared spec may be replaced */
    char **env, *user;
    size_t n_env;
    uint64_t capabilities;
    struct health_state state;
    bool probing, ended;
    uint64_t exec;
    int64_t deadline_ms;
    int pipe_fd;
    uv_timer_t timer;
    char output[HEALTH_OUTPUT_MAX + 1];
    size_t n_output;
};

struct health {
    struct agent *agent;
    struct map watches;
    size_t in_flight;
};

static void on_timer(uv_timer_t *t);

static void schedule(struct watch *w) {
    int64_t now = clock_mono_ms(), at = w->probing ? w->deadline_ms : w->state.next_ms;
    uv_timer_start(&w->timer, on_timer, at > now ? (uint64_t) (at - now) : 0, 0);
}

static void post(struct watch *w, const char *text) {
    agent_event(w->health->agent, &(struct rec_event){.kind = REC_EV_HEALTH,
                                                      .task = w->task,
                                                      .attempt = w->attempt,
                                                      .health = w->state.health,
                                                      .text = text});
}

/* Keep the last bytes of what the probe wrote; the pipe's writer may be hostile. */
static void read_output(struct watch *w) {
    char chunk[OUTPUT_READ];
    ssize_t n;
    for (int turns = 0; turns < 16 && (n = read(w->pipe_fd, chunk, sizeof chunk)) > 0; turns++) {
        size_t keep = (size_t) n < HEALTH_OUTPUT_MAX ? (size_t) n : HEALTH_OUTPUT_MAX;
        size_t old =
            w->n_output + keep > HEALTH_OUTPUT_MAX ? HEALTH_OUTPUT_MAX - keep : w->n_output;
        memmove(w->output, w->output + w->n_output - old, old);
        memcpy(w->output + old, chunk + (size_t) n - keep, keep);
        w->n_output = old + keep;
    }
}

/* The status travels as protobuf text: it must be UTF-8 without NUL. */
static const char *output_text(struct watch *w) {
    while (w->n_output && (w->output[w->n_output - 1] == '\n' || w->output[w->n_output - 1] == ' '))
        w->n_output--;
    w->output[w->n_output] = 0;
    if (str_is_utf8(w->output, w->n_output)) return w->output;
    for (size_t i = 0; i < w->n_output; i++)
        if ((unsigned char) w->output[i] < ' ' || (unsigned char) w->output[i] >= 127)
            w->output[i] = '?';
    return w->output;
}

static void finish(struct watch *w, bool ok, const char *text) {
    w->probing = false;
    w->health->in_flight--;
    fd_close(&w->pipe_fd);
    bool changed = health_state_result(&w->state, ok, clock_mono_ms());
    if (changed || !ok) post(w, ok ? "" : text);
    if (changed)
        log_info("task.health", "task=%s attempt=%u health=%s output=\"%s\"", w->task, w->attempt,
                 ok ? "healthy" : "unhealthy", ok ? "" : text);
    if (!w->ended) schedule(w);
}

static void on_started(void *ctx, int32_t pid, int master) {
    (void) ctx;
    (void) pid;
    fd_close(&master);
}

static void on_closed(void *ctx, int status, int32_t wait_status, const struct err *err) {
    struct watch *w = ctx;
    char text[HEALTH_OUTPUT_MAX + 1];
    if (status == -ECONNRESET) { /* no verdict: not the workload's fault */
        w->probing = false;
        w->health->in_flight--;
        fd_close(&w->pipe_fd);
        w->state.next_ms = clock_mono_ms() + LATER_MS;
        schedule(w);
        return;
    }
    if (status < 0) {
        snprintf(text, sizeof text, "%s", err->text);
        finish(w, false, text);
        return;
    }
    read_output(w);
    const char *out = output_text(w);
    bool ok = WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == 0;
    if (*out)
        snprintf(text, sizeof text, "%s", out);
    else
        snprintf(text, sizeof text, "exit code %d",
                 WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : -1);
    finish(w, ok, text);
}

static const struct klink_exec_ops exec_ops = {.started = on_started, .closed = on_closed};

static int probe(struct watch *w) {
    auto_fd int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    int p[2];
    if (null < 0 || pipe2(p, O_CLOEXEC | O_NONBLOCK) < 0) return -errno;
    auto_fd int out = p[1];
    auto_fd int in = p[0];
    int flags = fcntl(out, F_GETFL);
    (void) fcntl(out, F_SETFL, flags & ~O_NONBLOCK); /* ours alone is non-blocking */
    struct err err = {0};
    const struct task *t = rec_task(&w->health->agent->rec, w->task);
    if (!t || !t->st) return -ESRCH;
    const Orlop__Service *s = t->st->spec->spec;
    auto_fd int seccomp = -1;
    int r = confine_filter(s, w->capabilities, &seccomp, &err);
    if (r < 0) return r;
    Orlop__KeeperExec e = ORLOP__KEEPER_EXEC__INIT;
    e.task = w->task;
    e.argv = w->spec.test;
    e.n_argv = w->spec.n_test;
    e.env = w->env;
    e.n_env = w->n_env;
    e.user = w->user;
    e.capabilities = w->capabilities;
    e.no_new_privs = confine_no_new_privs(s);
    e.extra_groups = s->group_add;
    e.n_extra_groups = s->n_group_add;
    e.fd_stdin = 0;
    e.fd_stdout = e.fd_stderr = 1;
    e.fd_seccomp = seccomp < 0 ? -1 : 2;
    int fds[] = {null, out, seccomp};
    r = klink_exec(w->health->agent->klink, &e, fds, seccomp < 0 ? 2 : 3, &exec_ops, w, &w->exec);
    if (r < 0) return r;
    w->pipe_fd = steal_fd(&in);
    return 0;
}

static void begin(struct watch *w) {
    struct health *h = w->health;
    int r = h->in_flight < HEALTH_IN_FLIGHT_MAX ? probe(w) : -EAGAIN;
    if (r < 0) { /* no turn, or nothing to do it with: soon again, no verdict */
        w->state.next_ms = clock_mono_ms() + LATER_MS;
        schedule(w);
        return;
    }
    w->probing = true;
    w->n_output = 0;
    h->in_flight++;
    health_state_begin(&w->state);
    uint64_t timeout = w->spec.timeout_ms < INT32_MAX ? w->spec.timeout_ms : INT32_MAX;
    w->deadline_ms = clock_mono_ms() + (int64_t) timeout;
    schedule(w);
}

static void on_timer(uv_timer_t *t) {
    struct watch *w = container_of(t, struct watch, timer);
    if (w->ended) return;
    if (!w->probing) {
        begin(w);
        return;
    }
    char text[HEALTH_OUTPUT_MAX];
    klink_exec_abandon(w->health->agent->klink, w->exec);
    snprintf(text, sizeof text, "the check did not end within %llu ms",
             (unsigned long long) w->spec.timeout_ms);
    finish(w, false, text);
}

static void watch_free(struct watch *w) {
    fd_close(&w->pipe_fd);
    arena_fini(&w->arena);
    mem_free(w);
}

static void on_timer_closed(uv_handle_t *h) {
    watch_free(container_of((uv_timer_t *) h, struct watch, timer));
}

static void watch_end(struct watch *w) {
    w->ended = true;
    if (w->probing) {
        klink_exec_abandon(w->health->agent->klink, w->exec);
        w->probing = false;
        w->health->in_flight--;
    }
    w->health = NULL;
    uv_timer_stop(&w->timer);
    uv_close((uv_handle_t *) &w->timer, on_timer_closed);
}

static char **copy_list(struct arena *a, char *const *v, size_t n) {
    char **to = arena_alloc(a, (n + 1) * sizeof *to);
    for (size_t i = 0; to && i < n; i++)
        if (!(to[i] = arena_strdup(a, v[i]))) return NULL;
    return to;
}

static struct watch *watch_new(struct health *h, const struct task *t, const struct prepared *p) {
    struct watch *w = mem_zalloc(sizeof *w);
    if (!w) return NULL;
    arena_init(&w->arena, 4 << 20);
    snprintf(w->task, sizeof w->task, "%s", t->id);
    w->attempt = t->attempt;
    w->health = h;
    w->pipe_fd = -1;
    w->spec = p->merged.health;
    w->capabilities = p->spec.capabilities;
    w->spec.test = copy_list(&w->arena, p->merged.health.test, p->merged.health.n_test);
    w->env = copy_list(&w->arena, p->merged.env, p->merged.n_env);
    w->n_env = p->merged.n_env;
    w->user = arena_strdup(&w->arena, p->merged.user);
    if (w->spec.test && w->env && w->user) return w;
    watch_free(w);
    return NULL;
}

void health_watch(struct health *h, const struct task *t, const struct prepared *p) {
    struct watch *known = map_get(&h->watches, t->id);
    if (!p->merged.health.enabled || (known && known->attempt == t->attempt)) return;
    if (known) health_unwatch(h, t->id);
    struct watch *w = watch_new(h, t, p);
    if (!w || map_set(&h->watches, t->id, w) < 0)
        agent_fatal(h->agent, "no memory for a health check", -ENOMEM);
    Orlop__Health known_health =
        t->health == ORLOP__HEALTH__HEALTH_NONE ? ORLOP__HEALTH__HEALTH_STARTING : t->health;
    health_state_init(&w->state, &w->spec, known_health, clock_mono_ms());
    uv_timer_init(h->agent->loop, &w->timer);
    if (known_health != t->health) post(w, "");
    schedule(w);
}

void health_unwatch(struct health *h, const char *task) {
    struct watch *w = map_del(&h->watches, task);
    if (w) watch_end(w);
}

int health_new(struct agent *a, struct health **ret) {
    struct health *h = mem_zalloc(sizeof *h);
    if (!h) return -ENOMEM;
    h->agent = a;
    *ret = h;
    return 0;
}

void health_close(struct health *h) {
    if (!h) return;
    const char *key;
    void *value;
    for (size_t i = 0; map_next(&h->watches, &i, &key, &value);) watch_end(value);
    map_fini(&h->watches);
    mem_free(h);
}
