// SPDX-License-Identifier: Apache-2.0
#include "agent/logwatch.h"

#include <errno.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "runtime/base/fd.h"
#include "runtime/base/map.h"
#include "runtime/base/mem.h"

enum { KEY_MAX = 16, EVENTS_BYTES = 64 * 1024 };

struct logwatch_dir {
    int watch; /* the kernel's number; the same directory has the same one */
    struct list waiters;
};

struct logwatch {
    uv_poll_t poll;
    int inotify;
    struct map dirs; /* number of the watch -> struct logwatch_dir */
    _Alignas(struct inotify_event) char events[EVENTS_BYTES];
};

static const char *key_of(int watch, char buf[static KEY_MAX]) {
    snprintf(buf, KEY_MAX, "%d", watch);
    return buf;
}

static void tell(const struct logwatch_dir *d) {
    list_each (it, &d->waiters) {
        struct logwatch_waiter *w = list_entry(it, struct logwatch_waiter, node);
        w->changed(w);
    }
}

static void tell_everybody(struct logwatch *l) {
    void *value;
    for (size_t i = 0; map_next(&l->dirs, &i, NULL, &value);) tell(value);
}

static void on_event(struct logwatch *l, const struct inotify_event *e) {
    char key[KEY_MAX];
    if (e->mask & IN_Q_OVERFLOW) {
        tell_everybody(l);
        return;
    }
    struct logwatch_dir *d = map_get(&l->dirs, key_of(e->wd, key));
    if (d) tell(d); /* NULL: an event of a watch that is gone */
}

static void on_readable(uv_poll_t *h, int status, int events) {
    struct logwatch *l = container_of(h, struct logwatch, poll);
    (void) status;
    (void) events;
    ssize_t n = read(l->inotify, l->events, sizeof l->events);
    for (ssize_t at = 0; at < n;) {
        const struct inotify_event *e = (const void *) (l->events + at);
        on_event(l, e);
        at += (ssize_t) (sizeof *e + e->len);
    }
}

static struct logwatch_dir *dir_of(struct logwatch *l, int watch) {
    char key[KEY_MAX];
    struct logwatch_dir *d = map_get(&l->dirs, key_of(watch, key));
    if (d) return d;
    d = mem_zalloc(sizeof *d);
    if (!d || map_set(&l->dirs, key, d) < 0) {
        mem_free(d);
        return NULL;
    }
    d->watch = watch;
    list_init(&d->waiters);
    return d;
}

int logwatch_wait(struct logwatch *l, struct logwatch_waiter *w, int dir,
                  void (*changed)(struct logwatch_waiter *w)) {
    char path[40]; /* the directory that is open, whatever its name means by now */
    snprintf(path, sizeof path, "/proc/self/fd/%d", dir);
    int watch = inotify_add_watch(l->inotify, path, IN_MODIFY | IN_CREATE | IN_MOVED_TO);
    if (watch < 0) return -errno;
    struct logwatch_dir *d = dir_of(l, watch);
    if (!d) {
        (void) inotify_rm_watch(l->inotify, watch); /* nobody else waits: it would be known */
        return -ENOMEM;
    }
    w->dir = d;
    w->changed = changed;
    list_add_tail(&d->waiters, &w->node);
    return 0;
}

void logwatch_forget(struct logwatch *l, struct logwatch_waiter *w) {
    struct logwatch_dir *d = w->dir;
    if (!d) return;
    char key[KEY_MAX];
    list_del(&w->node);
    w->dir = NULL;
    if (!list_empty(&d->waiters)) return;
    (void) inotify_rm_watch(l->inotify, d->watch); /* EINVAL: the directory is gone, and so is it */
    (void) map_del(&l->dirs, key_of(d->watch, key));
    mem_free(d);
}

int logwatch_new(uv_loop_t *loop, struct logwatch **ret) {
    struct logwatch *l = mem_zalloc(sizeof *l);
    if (!l) return -ENOMEM;
    l->inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    int r = l->inotify < 0 ? -errno : uv_poll_init(loop, &l->poll, l->inotify);
    if (r < 0) {
        fd_close(&l->inotify);
        mem_free(l);
        return r;
    }
    uv_poll_start(&l->poll, UV_READABLE, on_readable);
    *ret = l;
    return 0;
}

static void on_closed(uv_handle_t *h) {
    struct logwatch *l = container_of((uv_poll_t *) h, struct logwatch, poll);
    fd_close(&l->inotify);
    map_fini(&l->dirs);
    mem_free(l);
}

void logwatch_close(struct logwatch *l) {
    if (l) uv_close((uv_handle_t *) &l->poll, on_closed);
}
