// SPDX-License-Identifier: Apache-2.0
#include "uplink.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/base/fd.h"
#include "runtime/base/mem.h"
#include "runtime/base/str.h"

enum { RECORD_MAX = 4096, PATH_BYTES = 64 + IF_NAMESIZE };

static const char *sysctl_path(const char *name, char buf[static PATH_BYTES]) {
    snprintf(buf, PATH_BYTES, "/proc/sys/net/ipv4/conf/%s/forwarding", name);
    return buf;
}

/* 1, 0, or negative errno. */
static int forwards(const char *name) {
    char path[PATH_BYTES];
    auto_free char *text = NULL;
    size_t n;
    int r = fd_read_file(AT_FDCWD, sysctl_path(name, path), 64, &text, &n);
    return r < 0 ? r : text[0] != '0';
}

int uplink_set_forwarding(const char *name, bool on) {
    char path[PATH_BYTES];
    return fd_write_file(AT_FDCWD, sysctl_path(name, path), on ? "1" : "0");
}

/* Names go into nft's text and into a path: others than these are left alone. */
static bool usable(const char *name) {
    static const char good[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    size_t n = strlen(name);
    return n > 0 && n < IF_NAMESIZE && name[0] != '.' && name[strspn(name, good)] == 0;
}

static int by_words(const void *a, const void *b) {
    uint32_t x[IF_NAMESIZE / 4], y[IF_NAMESIZE / 4];
    memcpy(x, a, sizeof x);
    memcpy(y, b, sizeof y);
    for (size_t i = 0; i < IF_NAMESIZE / 4; i++)
        if (x[i] != y[i]) return x[i] < y[i] ? -1 : 1;
    return 0;
}

static int remember(struct devices *d, const char *name, struct err *err) {
    if (d->n_uplinks == NET__UPLINKS_MAX)
        return err_say(err, -ENOSPC, "more than %d devices lead outside", NET__UPLINKS_MAX);
    struct net__uplink u = {{0}};
    memcpy(u.name, name, strlen(name));
    d->uplinks[d->n_uplinks++] = u;
    qsort(d->uplinks, d->n_uplinks, sizeof *d->uplinks, by_words);
    return 0;
}

static void forget(struct devices *d, size_t i) {
    memmove(&d->uplinks[i], &d->uplinks[i + 1], (d->n_uplinks - i - 1) * sizeof *d->uplinks);
    d->n_uplinks--;
}

static int write_record(const struct devices *d, struct err *err) {
    if (!d->record) return 0;
    struct buf b;
    buf_init(&b, RECORD_MAX);
    for (size_t i = 0; i < d->n_uplinks; i++) buf_printf(&b, "%s\n", d->uplinks[i].name);
    int r = buf_error(&b);
    if (r == 0) r = fd_replace_file(AT_FDCWD, d->record, buf_str(&b), b.len, 0600);
    buf_fini(&b);
    return r < 0 ? err_set(err, r, "write %s", d->record) : 0;
}

static bool remembered(const struct devices *d, const char *name) {
    for (size_t i = 0; i < d->n_uplinks; i++)
        if (str_eq(d->uplinks[i].name, name)) return true;
    return false;
}

int uplink_forward(struct devices *d, const char *name, struct buf *log, struct err *err) {
    int on = usable(name) ? forwards(name) : 1;
    if (on != 0) return 0; /* it does already; or it went while we looked: its DELLINK comes */
    int r = 0;
    if (!remembered(d, name)) {
        /* Recorded first: switched on without a record would stay on. */
        r = remember(d, name, err);
        if (r == 0) r = write_record(d, err);
        if (r < 0) return r;
    }
    r = uplink_set_forwarding(name, true);
    if (r == -ENOENT) return 0;
    if (r < 0) return err_set(err, r, "let %s forward", name);
    buf_printf(log, "%sforwarding of %s", log->len ? "; " : "", name);
    return 0;
}

int uplink_yield(struct devices *d, struct err *err) {
    if (d->n_uplinks == 0 || forwards("all") != 1) return 0;
    d->n_uplinks = 0;
    return write_record(d, err);
}

int uplink_recall(struct devices *d, struct err *err) {
    auto_free char *text = NULL;
    size_t n;
    if (!d->record) return 0;
    int r = fd_read_file(AT_FDCWD, d->record, RECORD_MAX, &text, &n);
    if (r == -ENOENT) return 0;
    if (r < 0) return err_set(err, r, "read %s", d->record);
    for (char *name = text, *end; (end = strchr(name, '\n')); name = end + 1) {
        *end = 0;
        if (!usable(name) || remembered(d, name)) continue;
        r = remember(d, name, err);
        if (r < 0) return r;
    }
    return 0;
}

int uplink_restore(struct devices *d, struct err *err) {
    while (d->n_uplinks > 0) {
        const char *name = d->uplinks[d->n_uplinks - 1].name;
        /* On a host that has become a router meanwhile, its forwarding is not ours to end. */
        int r = forwards("all") == 1 ? 0 : uplink_set_forwarding(name, false);
        if (r < 0 && r != -ENOENT) return err_set(err, r, "end the forwarding of %s", name);
        forget(d, d->n_uplinks - 1);
    }
    if (d->record && unlink(d->record) < 0 && errno != ENOENT)
        return err_set(err, -errno, "remove %s", d->record);
    return 0;
}
