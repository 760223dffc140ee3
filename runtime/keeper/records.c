// SPDX-License-Identifier: Apache-2.0
#include "records.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/base/fd.h"
#include "runtime/base/mem.h"
#include "runtime/base/str.h"

enum { RECORD_SIZE_MAX = sizeof(struct record_start), READ_BATCH = 64 };

static const struct file {
    const char *name;
    const char *next;
    size_t size;
} files[] = {
    [RECORDS_STARTS] = {"starts", "starts.new", sizeof(struct record_start)},
    [RECORDS_EXITS] = {"exits", "exits.new", sizeof(struct record_exit)},
    [RECORDS_CLOSED] = {"closed", "closed.new", sizeof(struct record_closed)},
};

bool record_task_ok(const char *task) {
    size_t n = strnlen(task, RECORD_TASK_MAX);
    if (n == RECORD_TASK_MAX) return false;
    int numbers = 0, digits = 0;
    for (size_t i = 0; i <= n; i++) {
        if (task[i] >= '0' && task[i] <= '9') {
            if (++digits > 20) return false;
        } else if (task[i] == '.' || task[i] == 0) {
            if (digits == 0) return false;
            digits = 0;
            numbers++;
        } else {
            return false;
        }
    }
    return numbers == 3;
}

static uint32_t check_of(const void *record, size_t size) {
    const char *p = record;
    uint64_t h = str_hash(p + sizeof(struct record_head), size - sizeof(struct record_head));
    return (uint32_t) (h ^ (h >> 32));
}

static bool head_ok(const struct record_head *h, enum record_magic magic, size_t size) {
    return h->magic == (uint32_t) magic && h->check == check_of(h, size);
}

bool record_start_ok(const struct record_start *r) {
    return head_ok(&r->head, RECORD_START, sizeof *r) && record_task_ok(r->task) &&
           strnlen(r->cgroup, sizeof r->cgroup) < sizeof r->cgroup && r->pid > 0 && r->attempt > 0;
}

bool record_exit_ok(const struct record_exit *r) {
    return head_ok(&r->head, RECORD_EXIT, sizeof *r) && r->pid > 0;
}

bool record_closed_ok(const struct record_closed *r) {
    return head_ok(&r->head, RECORD_CLOSED, sizeof *r) && record_task_ok(r->task) &&
           (r->what == RECORD_TASK_CLOSED || r->what == RECORD_TASK_FORGOTTEN);
}

int records_open(struct records *r, const char *run_dir, struct err *err) {
    auto_free char *boot_id = NULL;
    size_t len;
    int e = fd_read_file(AT_FDCWD, "/proc/sys/kernel/random/boot_id", 64, &boot_id, &len);
    if (e < 0) return err_set(err, e, "read the kernel's boot id");
    int dir = open(run_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0) return err_set(err, -errno, "open %s", run_dir);
    *r = (struct records){.run = dir, .boot_hash = str_hash(boot_id, len)};
    return 0;
}

void records_close(struct records *r) {
    fd_close(&r->run);
}

/* The file itself, locked; never one that a compaction has replaced meanwhile. */
static int open_locked(const struct records *r, const char *name) {
    for (;;) {
        auto_fd int fd =
            openat(r->run, name, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0) return -errno;
        struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
        while (fcntl(fd, F_OFD_SETLKW, &l) < 0)
            if (errno != EINTR) return -errno;
        struct stat st;
        if (fstat(fd, &st) < 0) return -errno;
        if (st.st_nlink > 0) return steal_fd(&fd);
    }
}

static int append(const struct records *r, enum records_file file, enum record_magic magic,
                  void *record) {
    struct record_head *head = record;
    *head = (struct record_head){.magic = (uint32_t) magic,
                                 .check = check_of(record, files[file].size)};
    auto_fd int fd = open_locked(r, files[file].name);
    if (fd < 0) return fd;
    struct stat st;
    if (fstat(fd, &st) < 0) return -errno;
    off_t whole = st.st_size - st.st_size % (off_t) files[file].size;
    if (whole != st.st_size && ftruncate(fd, whole) < 0) return -errno;
    int e = fd_write_all(fd, record, files[file].size);
    if (e < 0) (void) !ftruncate(fd, whole); /* else the next append cuts it */
    return e;
}

int records_add_start(const struct records *r, struct record_start *rec) {
    rec->boot_hash = r->boot_hash;
    return append(r, RECORDS_STARTS, RECORD_START, rec);
}

int records_add_exit(const struct records *r, struct record_exit *rec) {
    rec->boot_hash = r->boot_hash;
    return append(r, RECORDS_EXITS, RECORD_EXIT, rec);
}

int records_add_closed(const struct records *r, struct record_closed *rec) {
    return append(r, RECORDS_CLOSED, RECORD_CLOSED, rec);
}

typedef int (*visit_cb)(void *ctx, const void *record);

/* Every record-sized piece of FD from OFFSET on, good or not. Returns the offset behind the last.
 */
static int64_t visit(int fd, size_t size, uint64_t offset, visit_cb each, void *ctx) {
    _Alignas(16) char batch[READ_BATCH * RECORD_SIZE_MAX];
    for (;;) {
        ssize_t n = pread(fd, batch, READ_BATCH * size, (off_t) offset);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return -errno;
        size_t whole = (size_t) n / size;
        for (size_t i = 0; i < whole; i++) {
            int e = each(ctx, batch + i * size);
            if (e < 0) return e;
        }
        offset += whole * size;
        if (whole < READ_BATCH) return (int64_t) offset;
    }
}

static int read_from(const struct records *r, enum records_file file, uint64_t *offset,
                     visit_cb each, void *ctx) {
    auto_fd int fd = openat(r->run, files[file].name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) return errno == ENOENT ? 0 : -errno;
    int64_t end = visit(fd, files[file].size, *offset, each, ctx);
    if (end < 0) return (int) end;
    *offset = (uint64_t) end;
    return 0;
}

struct start_visit {
    record_start_cb each;
    void *ctx;
};
static int visit_start(void *ctx, const void *record) {
    struct start_visit *v = ctx;
    if (record_start_ok(record)) v->each(v->ctx, record);
    return 0;
}
int records_read_starts(const struct records *r, record_start_cb each, void *ctx) {
    struct start_visit v = {each, ctx};
    uint64_t offset = 0;
    return read_from(r, RECORDS_STARTS, &offset, visit_start, &v);
}

struct exit_visit {
    record_exit_cb each;
    void *ctx;
};
static int visit_exit(void *ctx, const void *record) {
    struct exit_visit *v = ctx;
    if (record_exit_ok(record)) v->each(v->ctx, record);
    return 0;
}
int records_read_exits(const struct records *r, uint64_t *offset, record_exit_cb each, void *ctx) {
    struct exit_visit v = {each, ctx};
    return read_from(r, RECORDS_EXITS, offset, visit_exit, &v);
}

struct closed_visit {
    record_closed_cb each;
    void *ctx;
};
static int visit_closed(void *ctx, const void *record) {
    struct closed_visit *v = ctx;
    if (record_closed_ok(record)) v->each(v->ctx, record);
    return 0;
}
int records_read_closed(const struct records *r, record_closed_cb each, void *ctx) {
    struct closed_visit v = {each, ctx};
    uint64_t offset = 0;
    return read_from(r, RECORDS_CLOSED, &offset, visit_closed, &v);
}

struct copy {
    enum records_file file;
    records_keep_cb keep;
    void *ctx;
    int out;
};

static bool record_ok(enum records_file file, const void *record) {
    switch (file) {
    case RECORDS_STARTS:
        return record_start_ok(record);
    case RECORDS_EXITS:
        return record_exit_ok(record);
    case RECORDS_CLOSED:
        return record_closed_ok(record);
    }
    return false;
}

static int copy_record(void *ctx, const void *record) {
    struct copy *c = ctx;
    if (!record_ok(c->file, record) || !c->keep(c->ctx, record)) return 0;
    return fd_write_all(c->out, record, files[c->file].size);
}

int records_compact(const struct records *r, enum records_file file, records_keep_cb keep,
                    void *ctx) {
    const struct file *f = &files[file];
    auto_fd int old = open_locked(r, f->name);
    if (old < 0) return old;
    auto_fd int fresh =
        openat(r->run, f->next, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fresh < 0) return -errno;
    struct copy c = {file, keep, ctx, fresh};
    int64_t end = visit(old, f->size, 0, copy_record, &c);
    if (end >= 0 && renameat(r->run, f->next, r->run, f->name) == 0) return 0;
    int e = end < 0 ? (int) end : -errno;
    (void) unlinkat(r->run, f->next, 0); /* the next compaction truncates it anyway */
    return e;
}

struct examination {
    enum records_file file;
    uint64_t at;
    struct records_damage found;
};

static int examine_record(void *ctx, const void *record) {
    struct examination *x = ctx;
    if (!record_ok(x->file, record) && x->found.bad++ == 0) x->found.first_byte = x->at;
    x->at += files[x->file].size;
    return 0;
}

const char *records_name(enum records_file file) {
    return files[file].name;
}

int records_examine(const struct records *r, enum records_file file, struct records_damage *ret) {
    struct examination x = {.file = file};
    uint64_t end = 0;
    struct stat st;
    int e = read_from(r, file, &end, examine_record, &x);
    if (e < 0) return e;
    if (fstatat(r->run, files[file].name, &st, AT_SYMLINK_NOFOLLOW) == 0)
        x.found.torn = (uint64_t) st.st_size % files[file].size;
    *ret = x.found;
    return 0;
}

void records_remove(const struct records *r) {
    for (size_t i = 0; i < array_len(files); i++) {
        (void) unlinkat(r->run, files[i].name, 0); /* missing is fine */
        (void) unlinkat(r->run, files[i].next, 0);
    }
}

static uint64_t number_at(const char *p) {
    uint64_t n = 0;
    for (; p && *p >= '0' && *p <= '9'; p++) n = n * 10 + (uint64_t) (*p - '0');
    return n;
}

struct process_seen process_see(pid_t pid) {
    enum { FLAGS = 9, START_TICKS = 22, FORKNOEXEC = 0x40 }; /* proc(5); linux/sched.h */
    struct process_seen seen = {0};
    char path[32];
    snprintf(path, sizeof path, "/proc/%d/stat", (int) pid);
    auto_free char *stat = NULL;
    if (fd_read_file(AT_FDCWD, path, 4096, &stat, NULL) < 0) return seen;
    const char *p = strrchr(stat, ')'); /* the name before it may hold anything */
    for (int field = 2; p && field < START_TICKS; field++) {
        p = strchr(p + 1, ' ');
        if (p && field + 1 == FLAGS)
            seen.never_ran = (number_at(p + 1) & FORKNOEXEC) && !strstr(stat, "(orlop-init)");
    }
    seen.start_ticks = p ? number_at(p + 1) : 0;
    return seen;
}
