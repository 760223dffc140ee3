// SPDX-License-Identifier: Apache-2.0
#include "sink.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/base/fd.h"
#include "runtime/base/log.h"
#include "runtime/base/mem.h"
#include "runtime/base/str.h"

enum { MERGE_NS = 1000000, NAME_SIZE = 24, INDEX_BYTES_MIN = 64 * 1024, INDEX_GROW = 4096 };

static const char *name_of(uint32_t number, const char *suffix, char buf[static NAME_SIZE]) {
    snprintf(buf, NAME_SIZE, "%u.%s", number, suffix);
    return buf;
}

/* "12.log" or "12.idx" -> 12; 0 = no file of ours. */
static uint32_t number_of(const char *name) {
    char digits[NAME_SIZE];
    size_t n = strspn(name, "0123456789");
    if (n == 0 || n >= sizeof digits) return 0;
    if (!str_eq(name + n, ".log") && !str_eq(name + n, ".idx")) return 0;
    memcpy(digits, name, n);
    digits[n] = 0;
    uint32_t v = 0;
    return str_to_u32(digits, UINT32_MAX - 1, &v) < 0 ? 0 : v;
}

/* The highest number there; with KEEP_FROM != 0 files below it are deleted: what a rotation that
 * was killed half way has left. */
static int scan(int dir, uint32_t keep_from, uint32_t *ret_highest) {
    int dup = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dup < 0) return -errno;
    DIR *d = fdopendir(dup);
    if (!d) {
        int e = -errno;
        fd_close(&dup);
        return e;
    }
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        uint32_t n = number_of(e->d_name);
        if (n > *ret_highest) *ret_highest = n;
        if (n != 0 && n < keep_from) (void) unlinkat(dir, e->d_name, 0); /* next rotation again */
    }
    closedir(d);
    return 0;
}

static int open_file(int dir, uint32_t number, const char *suffix, uint64_t *ret_size) {
    char name[NAME_SIZE];
    /* never O_APPEND: splice answers EINVAL */
    int fd =
        openat(dir, name_of(number, suffix, name), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) return -errno;
    struct stat st;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        fd_close(&fd);
        return -EIO;
    }
    *ret_size = (uint64_t) st.st_size;
    return fd;
}

/* The last record that is there, as *ret_n counts them. */
static int find_last(int index, uint64_t size, uint64_t *ret_n, struct log_record *ret) {
    *ret_n = size / sizeof *ret; /* a torn tail is written over */
    *ret = (struct log_record){0};
    for (; *ret_n; --*ret_n) {
        off_t at = (off_t) ((*ret_n - 1) * sizeof *ret);
        if (pread(index, ret, sizeof *ret, at) != sizeof *ret) return -EIO;
        if (!log_record_is_end(ret)) return 0;
    }
    return 0;
}

/* Not as a writer leaves it (logfile.h): nothing is written behind that. */
static bool is_damaged(const struct sink *s, uint64_t index_size) {
    if (s->records == 0) return s->size > 0;
    bool ends = index_size >= (s->records + 1) * sizeof s->last;
    return !ends || !log_record_ok(&s->last) || log_record_offset(&s->last) > s->size;
}

/* Index first: a data file without an index cannot exist. */
static int open_number(struct sink *s, int dir, uint32_t number) {
    uint64_t index_size, size, n;
    struct log_record last;
    auto_fd int index = open_file(dir, number, "idx", &index_size);
    if (index < 0) return index;
    auto_fd int data = open_file(dir, number, "log", &size);
    if (data < 0) return data;
    int r = find_last(index, index_size, &n, &last);
    if (r < 0) return r;
    fd_close(&s->index);
    fd_close(&s->data);
    s->index = steal_fd(&index);
    s->data = steal_fd(&data);
    s->number = number;
    s->size = size;
    s->records = n;
    s->index_size = index_size;
    s->last = last;
    return 0;
}

static uint32_t oldest_kept(const struct sink *s) {
    return s->number > s->max_files ? s->number - s->max_files + 1 : 1;
}

static int open_dir(struct sink *s, int dir) {
    uint32_t highest = 0;
    int r = scan(dir, 0, &highest);
    if (r == 0) r = open_number(s, dir, highest ? highest : 1);
    if (r == 0 && is_damaged(s, s->index_size)) {
        log_warn("log.damage",
                 "dir=\"%s\" what=\"%u.idx or %u.log is damaged or cut off: kept as it "
                 "is, the log goes on in %u.log\"",
                 s->dir, s->number, s->number, s->number + 1);
        r = open_number(s, dir, s->number + 1);
    }
    return r < 0 ? r : scan(dir, oldest_kept(s), &highest);
}

int sink_open(struct sink *s, const char *dir, uint64_t max_bytes, uint32_t max_files,
              struct err *err) {
    struct sink new = {.data = -1,
                       .index = -1,
                       .max_bytes = max_bytes ? max_bytes : SINK_BYTES_DEFAULT,
                       .max_files = max_files ? max_files : SINK_FILES_DEFAULT};
    if (new.max_bytes < SINK_BYTES_MIN) new.max_bytes = SINK_BYTES_MIN;
    if (new.max_bytes > LOG_OFFSET_MAX / 2) new.max_bytes = LOG_OFFSET_MAX / 2;
    if (!dir) {
        new.data = open("/dev/null", O_WRONLY | O_CLOEXEC);
        if (new.data < 0) return err_set(err, -errno, "open /dev/null");
        *s = new;
        return 0;
    }
    int r = fd_mkdirs(AT_FDCWD, dir, 0700);
    if (r < 0) return err_set(err, r, "make %s", dir);
    auto_fd int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) return err_set(err, -errno, "open %s", dir);
    new.dir = mem_strdup(dir);
    r = new.dir ? open_dir(&new, fd) : -ENOMEM;
    if (r < 0) {
        sink_close(&new);
        return err_set(err, r, "log files in %s", dir);
    }
    *s = new;
    return 0;
}

void sink_close(struct sink *s) {
    fd_close(&s->data);
    fd_close(&s->index);
    mem_free(s->dir);
    s->dir = NULL;
}

static unsigned last_stream(const struct sink *s) {
    return log_record_stream(&s->last);
}
static uint64_t last_offset(const struct sink *s) {
    return log_record_offset(&s->last);
}

/* There is an end behind the record N, too, before it is written. */
static int make_room(struct sink *s, uint64_t n) {
    uint64_t need = (n + 2) * sizeof s->last;
    if (need <= s->index_size) return 0;
    uint64_t size = (need + INDEX_GROW - 1) / INDEX_GROW * INDEX_GROW;
    if (ftruncate(s->index, (off_t) size) < 0) return -errno;
    s->index_size = size;
    return 0;
}

static int put_record(struct sink *s, unsigned stream, int64_t now) {
    /* One that covers nothing is written over, a boundary is kept. */
    bool over = s->records && last_offset(s) == s->size && last_stream(s) != LOG_BOUNDARY;
    uint64_t n = over ? s->records - 1 : s->records;
    if (s->records && now < s->last.time_unix_ns) now = s->last.time_unix_ns; /* stepped clock */
    struct log_record rec = log_record_make(now, s->size, stream);
    int r = make_room(s, n);
    if (r < 0) return r;
    ssize_t w = pwrite(s->index, &rec, sizeof rec, (off_t) (n * sizeof rec));
    if (w < 0) return -errno;
    if (w != sizeof rec) return -ENOSPC; /* torn: the next one lies at the same place */
    s->records = n + 1;
    s->last = rec;
    return 0;
}

int sink_boundary(struct sink *s, int64_t now_unix_ns) {
    if (!s->dir || (s->number == 1 && s->size == 0)) return 0;
    return put_record(s, LOG_BOUNDARY, now_unix_ns);
}

static bool ends_with_newline(const struct sink *s) {
    char c = 0;
    return s->size == 0 || (pread(s->data, &c, 1, (off_t) (s->size - 1)) == 1 && c == '\n');
}

static bool rotation_due(const struct sink *s) {
    uint64_t index_max = s->max_bytes > INDEX_BYTES_MIN ? s->max_bytes : INDEX_BYTES_MIN;
    uint64_t index_bytes = s->records * sizeof(struct log_record);
    if (s->size < s->max_bytes && index_bytes < index_max) return false;
    if (s->number >= UINT32_MAX - 1) return false;
    bool must = s->size >= s->max_bytes + SINK_OVER_MAX || index_bytes >= index_max * 2;
    return must || ends_with_newline(s);
}

static int rotate(struct sink *s) {
    auto_fd int dir = open(s->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (dir < 0) return -errno;
    int r = open_number(s, dir, s->number + 1);
    if (r < 0 || s->number <= s->max_files) return r;
    char name[NAME_SIZE];
    uint32_t old = s->number - s->max_files; /* data first: an index alone harms nobody */
    (void) unlinkat(dir, name_of(old, "log", name), 0);
    (void) unlinkat(dir, name_of(old, "idx", name), 0);
    return 0;
}

/* Bytes soon after the last record of the same stream belong to it: that bounds the index. */
static bool merges(const struct sink *s, unsigned stream, int64_t now) {
    return s->records && last_stream(s) == stream && last_offset(s) < s->size &&
           now >= s->last.time_unix_ns && now - s->last.time_unix_ns < MERGE_NS;
}

int64_t sink_move(struct sink *s, int fifo, unsigned stream, uint64_t max, int64_t now_unix_ns) {
    if (!s->dir) {
        ssize_t n = splice(fifo, NULL, s->data, NULL, max, SPLICE_F_NONBLOCK);
        return n >= 0 ? n : errno == EAGAIN ? 0 : -errno;
    }
    if (rotation_due(s)) {
        int r = rotate(s);
        if (r < 0) return r;
    }
    if (!merges(s, stream, now_unix_ns)) {
        int r = put_record(s, stream, now_unix_ns);
        if (r < 0) return r;
    }
    loff_t offset = (loff_t) s->size;
    ssize_t n = splice(fifo, NULL, s->data, &offset, max, SPLICE_F_NONBLOCK);
    if (n < 0) return errno == EAGAIN ? 0 : -errno;
    s->size += (uint64_t) n;
    return n;
}
