// SPDX-License-Identifier: Apache-2.0
/* Three passes: which files are there (collect), what is in each and do they fit together (check_*,
 * which only notes what is to be done), and only when all of it can be used: do it (carry_out). */
#include "verify.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/base/fd.h"
#include "runtime/base/mem.h"
#include "segment.h"
#include "snapshot_frame.h"

enum { NAME_SIZE = 80, FILE_BYTES_MAX = 1 << 30 };

struct piece {
    uint64_t v[3]; /* closed: first, last; open: counter; snapshot: term, index, time */
    char name[NAME_SIZE];
};

struct pieces {
    struct piece *v;
    size_t n;
};

struct torn {
    char name[NAME_SIZE];
    uint64_t at, size;
};

struct verify {
    int dirfd;
    struct pieces closed, open, snapshots;
    struct strv aside;
    struct torn torn;
    uint64_t snapshot_idx; /* of the newest good one */
    uint64_t next_idx;     /* behind the last entry seen, 0 = none seen yet */
    struct strv *said;
    struct err *err;
};

printf_like(2, 3) static int say(struct verify *v, const char *fmt, ...) {
    char text[ERR_TEXT_MAX];
    va_list args;
    va_start(args, fmt);
    (void) vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    return strv_add(v->said, text);
}

/* --- collect ---------------------------------------------------------------------------------- */

/* NAME as PREFIX and N numbers with '-' between; nothing behind them. */
static bool parse(const char *name, const char *prefix, size_t n, uint64_t *ret) {
    if (!str_starts(name, prefix)) return false;
    char digits[NAME_SIZE];
    const char *p = name + strlen(prefix);
    for (size_t i = 0; i < n; i++) {
        size_t len = strcspn(p, "-");
        if (len >= sizeof digits || (p[len] == '-') != (i + 1 < n)) return false;
        memcpy(digits, p, len);
        digits[len] = 0;
        if (str_to_u64(digits, UINT64_MAX, &ret[i]) < 0) return false;
        p += len + 1;
    }
    return true;
}

static int add(struct pieces *list, const struct piece *p) {
    struct piece *v = mem_resize(list->v, list->n + 1, sizeof *v);
    if (!v) return -ENOMEM;
    list->v = v;
    list->v[list->n++] = *p;
    return 0;
}

static int collect_one(struct verify *v, const char *name) {
    struct piece p = {0};
    if (strlen(name) >= sizeof p.name) return 0;
    memcpy(p.name, name, strlen(name) + 1);
    if (parse(name, "", 2, p.v)) return add(&v->closed, &p);
    if (parse(name, "open-", 1, p.v)) return add(&v->open, &p);
    if (parse(name, "snapshot-", 3, p.v)) return add(&v->snapshots, &p);
    return 0;
}

static int compare(const void *a, const void *b) {
    const struct piece *x = a, *y = b;
    for (size_t i = 0; i < 3; i++)
        if (x->v[i] != y->v[i]) return x->v[i] < y->v[i] ? -1 : 1;
    return 0;
}

static int collect(struct verify *v) {
    int dup = openat(v->dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = dup < 0 ? NULL : fdopendir(dup);
    if (!d) {
        int r = -errno;
        fd_close(&dup);
        return err_set(v->err, r, "read the directory");
    }
    int r = 0;
    for (struct dirent *e; r == 0 && (e = readdir(d));) r = collect_one(v, e->d_name);
    closedir(d);
    if (r < 0) return err_set(v->err, r, "read the directory");
    if (v->closed.n) qsort(v->closed.v, v->closed.n, sizeof *v->closed.v, compare);
    if (v->open.n) qsort(v->open.v, v->open.n, sizeof *v->open.v, compare);
    if (v->snapshots.n) qsort(v->snapshots.v, v->snapshots.n, sizeof *v->snapshots.v, compare);
    return 0;
}

/* --- check ------------------------------------------------------------------------------------ */

/* 0; -EBADMSG with WHY: no snapshot to start from. */
static int check_snapshot(struct verify *v, const struct piece *p, const char **why) {
    auto_free char *data = NULL, *meta = NULL;
    char name[NAME_SIZE + 8];
    size_t size, meta_size;
    struct snapshot_frame f;
    snprintf(name, sizeof name, "%s.meta", p->name);
    *why = "its .meta is missing or damaged";
    int r = fd_read_file(v->dirfd, name, FILE_BYTES_MAX, &meta, &meta_size);
    if (r < 0) return r == -ENOENT ? -EBADMSG : r;
    if (segment_check_meta((const uint8_t *) meta, meta_size) < 0) return -EBADMSG;
    *why = "checksum or length is wrong";
    r = fd_read_file(v->dirfd, p->name, FILE_BYTES_MAX, &data, &size);
    if (r < 0) return r;
    r = snapshot_frame_check((const uint8_t *) data, size, &f);
    return r < 0 ? r : f.idx == p->v[1] ? 0 : -EBADMSG;
}

static int put_snapshot_aside(struct verify *v, const struct piece *p) {
    char meta[NAME_SIZE + 8];
    snprintf(meta, sizeof meta, "%s.meta", p->name);
    int r = strv_add(&v->aside, p->name);
    if (r == 0 && faccessat(v->dirfd, meta, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
        r = strv_add(&v->aside, meta);
    return r;
}

/* The newest good one counts; damaged ones before it harm nobody until they are needed. */
static int check_snapshots(struct verify *v) {
    for (size_t i = v->snapshots.n; i-- > 0;) {
        const struct piece *p = &v->snapshots.v[i];
        const char *why;
        int r = check_snapshot(v, p, &why);
        if (r == 0) {
            v->snapshot_idx = p->v[1];
            return 0;
        }
        if (r != -EBADMSG) return err_set(v->err, r, "read %s", p->name);
        r = say(v,
                "%s is damaged (%s): kept aside as damaged-%s, the log goes on from what is "
                "older",
                p->name, why, p->name);
        if (r == 0) r = put_snapshot_aside(v, p);
        if (r < 0) return err_set(v->err, r, "check %s", p->name);
    }
    return 0;
}

static int scan(struct verify *v, const struct piece *p, struct segment *ret) {
    auto_free char *data = NULL;
    size_t size = 0;
    int r = fd_read_file(v->dirfd, p->name, FILE_BYTES_MAX, &data, &size);
    if (r < 0) return err_set(v->err, r, "read %s", p->name);
    segment_scan((const uint8_t *) data, size, ret);
    return 0;
}

static int refuse_at(struct verify *v, const struct piece *p, const struct segment *s) {
    return err_say(v->err, -EBADMSG, "%s is %s at byte %zu, behind %" PRIu64 " whole entries",
                   p->name, s->end == SEGMENT_CUT ? "cut off" : "damaged", s->used, s->entries);
}

/* A damaged segment that the snapshot has all of is not needed, nor is what is before it. */
static int put_closed_aside(struct verify *v, size_t i) {
    int r = 0;
    for (size_t k = 0; r == 0 && k <= i; k++) r = strv_add(&v->aside, v->closed.v[k].name);
    if (r == 0)
        r = say(v,
                "%s is damaged, but the snapshot has all that is in it: kept aside as damaged-%s",
                v->closed.v[i].name, v->closed.v[i].name);
    v->next_idx = 0;
    return r < 0 ? err_set(v->err, r, "check %s", v->closed.v[i].name) : 0;
}

static int refuse_gap(struct verify *v, uint64_t from, uint64_t to) {
    return err_say(v->err, -EBADMSG,
                   "the entries %" PRIu64 " to %" PRIu64 " are missing: no file has them", from,
                   to);
}

static int check_closed(struct verify *v, size_t i) {
    const struct piece *p = &v->closed.v[i];
    uint64_t first = p->v[0], last = p->v[1];
    struct segment s;
    int r = scan(v, p, &s);
    if (r < 0) return r;
    bool whole = s.end == SEGMENT_WHOLE || s.end == SEGMENT_EXACT;
    if (!whole || first < 1 || last < first || s.entries != last - first + 1)
        return last <= v->snapshot_idx ? put_closed_aside(v, i) : refuse_at(v, p, &s);
    uint64_t expected = v->next_idx ? v->next_idx : v->snapshot_idx + 1;
    if (first > expected) return refuse_gap(v, expected, first - 1);
    if (v->next_idx && first < expected)
        return err_say(v->err, -EBADMSG, "%s has entries that other files have, too", p->name);
    v->next_idx = last + 1;
    return 0;
}

static int note_torn(struct verify *v, const struct piece *p, const struct segment *s) {
    v->torn = (struct torn){.at = s->used, .size = s->behind};
    memcpy(v->torn.name, p->name, sizeof p->name);
    return say(v,
               "%s: the last write was cut short by a power loss and is undone (%zu bytes "
               "behind byte %zu; they were never acknowledged)",
               p->name, s->behind, s->used);
}

/* Open segments are made full of zeros and used one after the other: only the last may be shorter,
 * and behind one that is not full there is nothing. */
static int check_open(struct verify *v, size_t i, const char **unfinished) {
    const struct piece *p = &v->open.v[i];
    struct segment s;
    int r = scan(v, p, &s);
    if (r < 0) return r;
    if (s.size == 0 && i + 1 < v->open.n) s.end = SEGMENT_CUT;
    if (s.end == SEGMENT_CUT || s.end == SEGMENT_DAMAGED) return refuse_at(v, p, &s);
    bool used = s.entries || s.behind;
    if (used && *unfinished)
        return err_say(v->err, -EBADMSG, "%s is cut off or damaged: the entries of %s follow it",
                       *unfinished, p->name);
    if (s.end == SEGMENT_TORN) r = note_torn(v, p, &s);
    if (s.end == SEGMENT_EXACT)
        r = say(v,
                "%s ends right behind its entry %" PRIu64 ": its closing was interrupted, or "
                "what was behind is lost",
                p->name, s.entries);
    if (!s.entries || s.end == SEGMENT_TORN) *unfinished = p->name;
    return r < 0 ? err_set(v->err, r, "check %s", p->name) : 0;
}

static int check_segments(struct verify *v) {
    int r = 0;
    const char *unfinished = NULL;
    for (size_t i = 0; r == 0 && i < v->closed.n; i++) r = check_closed(v, i);
    if (r == 0 && v->closed.n && v->next_idx && v->next_idx <= v->snapshot_idx)
        r = refuse_gap(v, v->next_idx, v->snapshot_idx);
    for (size_t i = 0; r == 0 && i < v->open.n; i++) r = check_open(v, i, &unfinished);
    return r;
}

/* --- carry out -------------------------------------------------------------------------------- */

static int undo_torn(struct verify *v) {
    static const uint8_t zeros[4096];
    const struct torn *t = &v->torn;
    auto_fd int fd = openat(v->dirfd, t->name, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) return -errno;
    for (uint64_t done = 0; done < t->size;) {
        size_t n = t->size - done < sizeof zeros ? (size_t) (t->size - done) : sizeof zeros;
        ssize_t w = pwrite(fd, zeros, n, (off_t) (t->at + done));
        if (w < 0 && errno != EINTR) return -errno;
        if (w > 0) done += (uint64_t) w;
    }
    return fsync(fd) < 0 ? -errno : 0;
}

static int carry_out(struct verify *v) {
    int r = v->torn.size ? undo_torn(v) : 0;
    if (r < 0) return err_set(v->err, r, "undo the torn write in %s", v->torn.name);
    for (size_t i = 0; i < v->aside.n; i++) {
        char name[NAME_SIZE + 32];
        snprintf(name, sizeof name, "damaged-%s", v->aside.v[i]);
        if (renameat(v->dirfd, v->aside.v[i], v->dirfd, name) < 0)
            return err_set(v->err, -errno, "put %s aside", v->aside.v[i]);
    }
    if (v->aside.n && fsync(v->dirfd) < 0) return err_set(v->err, -errno, "sync the directory");
    return 0;
}

int verify_log(int dirfd, struct strv *said, struct err *err) {
    struct verify v = {.dirfd = dirfd, .said = said, .err = err};
    int r = collect(&v);
    if (r == 0) r = check_snapshots(&v);
    if (r == 0) r = check_segments(&v);
    if (r == 0) r = carry_out(&v);
    mem_free(v.closed.v);
    mem_free(v.open.v);
    mem_free(v.snapshots.v);
    strv_fini(&v.aside);
    return r;
}
