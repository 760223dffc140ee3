// SPDX-License-Identifier: Apache-2.0
/* The log files' reader. Two layers:
 *
 *   segments   (number, record, position): which bytes of which stream come next. The data
 *              file's size is asked first; every byte below it has its record by then, and a
 *              record below it is final.
 *   lines      one assembler per stream; a line is handed out when its newline is there, when
 *              it has reached LOGFILE_LINE_MAX, or when a boundary says that no more comes.
 *
 * Nothing in the files is trusted: an index that lies costs wrong lines, never more.
 */
#include "logfile.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/base/fd.h"
#include "runtime/base/mem.h"
#include "runtime/base/str.h"

enum {
    BLOCK = 16 * 1024, /* a request may read a thousand tasks at once */
    RECORDS_BATCH = 256,
    NAME_SIZE = 24,
    DAMAGE_SIZE = 160,
    TAIL_SLACK =
        64, /* lines read before the wanted ones, so that none of those begins in its middle */
};
#define TAIL_MAX (INT64_C(1) << 40)

struct assembler {
    char *text; /* LOGFILE_LINE_MAX, made when first needed */
    size_t len;
    int64_t time;
    bool handed_out; /* by the last call: empty it at the next */
};

struct log_reader {
    int dir;
    uint32_t number; /* 0: no file yet */
    int data, index;
    uint64_t size;  /* of data, as far as it is believed */
    bool last;      /* no higher number was there when SIZE was asked */
    bool stops;     /* at STOP_SIZE of file STOP_NUMBER, whatever comes behind */
    bool completes; /* it has stopped there in a line, and goes on to that line's end */
    uint32_t stop_number;
    uint64_t stop_size;
    uint64_t pos;
    uint64_t record; /* that covers POS, if it has any bytes */
    struct log_record batch[RECORDS_BATCH];
    uint64_t batch_first;
    size_t batch_n;
    char *block;
    uint64_t block_at;
    size_t block_len;
    struct assembler lines[2];
    unsigned ending; /* bit set of streams whose open line ends here */
    int64_t since;
    int64_t skip; /* lines not handed out: what lies before the tail */
    char damage[DAMAGE_SIZE];
};

static const char *name_of(uint32_t number, const char *suffix, char buf[static NAME_SIZE]) {
    snprintf(buf, NAME_SIZE, "%u.%s", number, suffix);
    return buf;
}

static uint32_t number_of(const char *name) {
    char digits[NAME_SIZE];
    size_t n = strspn(name, "0123456789");
    if (n == 0 || n >= sizeof digits || !str_eq(name + n, ".log")) return 0;
    memcpy(digits, name, n);
    digits[n] = 0;
    uint32_t v = 0;
    return str_to_u32(digits, UINT32_MAX - 1, &v) < 0 ? 0 : v;
}

/* The lowest number above ABOVE, 0 = none; *ret_highest of all. */
static uint32_t next_number(const struct log_reader *r, uint32_t above, uint32_t *ret_highest) {
    uint32_t found = 0, highest = 0;
    int dup = openat(r->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = dup < 0 ? NULL : fdopendir(dup);
    if (!d) {
        fd_close(&dup);
        return 0;
    }
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        uint32_t n = number_of(e->d_name);
        if (r->stops && n > r->stop_number) continue;
        if (n > above && (found == 0 || n < found)) found = n;
        if (n > highest) highest = n;
    }
    closedir(d);
    if (ret_highest) *ret_highest = highest;
    return found;
}

static void close_files(struct log_reader *r) {
    fd_close(&r->data);
    fd_close(&r->index);
    r->batch_n = 0;
    r->block_len = 0;
    r->pos = r->record = r->size = 0;
}

static int open_file(int dir, uint32_t number, const char *suffix) {
    char name[NAME_SIZE];
    int fd =
        openat(dir, name_of(number, suffix, name), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    return fd < 0 ? -errno : fd;
}

static int open_number(struct log_reader *r, uint32_t number) {
    auto_fd int data = open_file(r->dir, number, "log");
    if (data < 0) return data;
    auto_fd int index = open_file(r->dir, number, "idx");
    if (index < 0) return index;
    close_files(r);
    r->data = steal_fd(&data);
    r->index = steal_fd(&index);
    r->number = number;
    return 0;
}

printf_like(2, 3) static void note_damage(struct log_reader *r, const char *fmt, ...) {
    if (*r->damage) return;
    va_list args;
    va_start(args, fmt);
    (void) vsnprintf(r->damage, sizeof r->damage, fmt, args);
    va_end(args);
}

static bool is_longer(int fd, uint64_t than) {
    struct stat st;
    return fstat(fd, &st) < 0 || (uint64_t) st.st_size > than;
}

/* Record I of the batch is not what was written: look again, it may just be coming. Else it is one
 * more of the record before it. */
static void mend(struct log_reader *r, size_t i) {
    struct log_record again, *rec = &r->batch[i];
    uint64_t n = r->batch_first + i;
    if (pread(r->index, &again, sizeof again, (off_t) (n * sizeof again)) == sizeof again &&
        (log_record_ok(&again) || log_record_is_end(&again))) {
        *rec = again;
        return;
    }
    note_damage(r, "%u.idx is damaged at byte %llu: there a stream or a time may be wrong",
                r->number, (unsigned long long) (n * sizeof again));
    *rec = i ? rec[-1] : log_record_make(0, 0, LOG_STDOUT);
}

/* GOT bytes were there. Behind the last record there must be an end, behind its offset no end of the
 * data. */
static void check_ends(struct log_reader *r, size_t got) {
    uint64_t end = r->batch_first * sizeof r->batch[0] + got;
    const struct log_record *last = r->batch_n ? &r->batch[r->batch_n - 1] : NULL;
    bool at_end = got < sizeof r->batch && (!last || !log_record_is_end(last));
    if (at_end && (r->size > 0 || last) && !is_longer(r->index, end)) {
        note_damage(r,
                    "%u.idx is cut off at byte %llu: from there on a stream or a time may be wrong",
                    r->number, (unsigned long long) end);
        if (r->batch_first == 0 && r->batch_n == 0)
            r->batch[r->batch_n++] = log_record_make(0, 0, LOG_STDOUT);
    }
    while (last && log_record_is_end(last)) last = last > r->batch ? last - 1 : NULL;
    if (last && log_record_offset(last) > r->size &&
        !is_longer(r->data, log_record_offset(last) - 1))
        note_damage(r, "%u.log is cut off: %u.idx knows of more", r->number, r->number);
}

/* The records from the one before N on: it stands for those that are damaged. */
static void load_batch(struct log_reader *r, uint64_t n) {
    r->batch_first = n ? n - 1 : 0;
    ssize_t got =
        pread(r->index, r->batch, sizeof r->batch, (off_t) (r->batch_first * sizeof r->batch[0]));
    if (got < 0) got = 0;
    r->batch_n = (size_t) got / sizeof r->batch[0];
    for (size_t i = 0; i < r->batch_n; i++)
        if (!log_record_ok(&r->batch[i]) && !log_record_is_end(&r->batch[i])) mend(r, i);
    check_ends(r, (size_t) got);
}

/* Record N, or NULL when it is not there. */
static const struct log_record *record_at(struct log_reader *r, uint64_t n) {
    if (n < r->batch_first || n >= r->batch_first + r->batch_n) load_batch(r, n);
    if (n - r->batch_first >= r->batch_n) return NULL;
    const struct log_record *rec = &r->batch[n - r->batch_first];
    return log_record_is_end(rec) ? NULL : rec;
}

static uint64_t offset_of(const struct log_record *rec) {
    return log_record_offset(rec);
}
static unsigned stream_of(const struct log_record *rec) {
    return log_record_stream(rec);
}

/* Is record N final? Those at the file's end may still be written over, unless the file is
 * complete. */
static const struct log_record *final_record(struct log_reader *r, uint64_t n) {
    const struct log_record *rec = record_at(r, n);
    if (!rec || offset_of(rec) < r->size) return rec;
    return r->last ? NULL : rec;
}

/* Ask how far the current file goes now. Whether there is something new. */
static bool refresh(struct log_reader *r) {
    if (!r->number) {
        uint32_t first = next_number(r, 0, NULL);
        if (!first || open_number(r, first) < 0) return false;
    }
    /* The higher number first, then the size: when there is one, this file gets no more. */
    bool last = next_number(r, r->number, NULL) == 0;
    struct stat st;
    if (fstat(r->data, &st) < 0) return false;
    uint64_t size = (uint64_t) st.st_size;
    if (r->stops && r->number == r->stop_number && size > r->stop_size) size = r->stop_size;
    bool news = size > r->size || last != r->last;
    r->size = size;
    r->last = last;
    r->batch_n = 0; /* what lay at the end may have been written over */
    return news;
}

/* The file is read to its end and is not the last: go on in the next one. */
static bool advance_file(struct log_reader *r) {
    for (uint32_t at = r->number;;) {
        uint32_t next = next_number(r, at, NULL);
        if (!next) return false;
        bool gap = next != r->number + 1;
        at = next;
        if (open_number(r, next) < 0) continue; /* rotated away just now */
        if (gap) r->lines[0].len = r->lines[1].len = 0;
        (void) refresh(r);
        return true;
    }
}

struct segment {
    unsigned stream;
    int64_t time;
    const char *data;
    size_t len;
};

static ssize_t fill_block(struct log_reader *r) {
    if (r->pos >= r->block_at && r->pos < r->block_at + r->block_len)
        return (ssize_t) (r->block_at + r->block_len - r->pos);
    ssize_t n = pread(r->data, r->block, BLOCK, (off_t) r->pos);
    r->block_at = r->pos;
    r->block_len = n > 0 ? (size_t) n : 0;
    return n < 0 ? -errno : n;
}

/* Stand on the record that covers POS. NULL = there is none yet, or a boundary was met (R->ending).
 */
static const struct log_record *find_record(struct log_reader *r, uint64_t *ret_end) {
    for (;;) {
        const struct log_record *rec = final_record(r, r->record);
        if (!rec) return NULL;
        if (stream_of(rec) == LOG_BOUNDARY) {
            r->ending = 3;
            r->record++;
            return NULL;
        }
        const struct log_record *after = final_record(r, r->record + 1);
        *ret_end = after && offset_of(after) < r->size ? offset_of(after) : r->size;
        if (*ret_end > r->pos) return record_at(r, r->record);
        if (!after) return NULL;
        r->record++;
    }
}

/* The next bytes of one stream: 1; 0 = none for now, or a boundary. */
static int next_segment(struct log_reader *r, struct segment *ret) {
    uint64_t end;
    const struct log_record *rec = find_record(r, &end);
    if (!rec) return 0;
    ssize_t have = fill_block(r);
    if (have <= 0) return (int) have;
    if ((uint64_t) have > end - r->pos) have = (ssize_t) (end - r->pos);
    *ret = (struct segment){.stream = stream_of(rec),
                            .time = rec->time_unix_ns,
                            .data = r->block + (r->pos - r->block_at),
                            .len = (size_t) have};
    return 1;
}

static int hand_out(struct log_reader *r, unsigned i, const char *text, size_t len, int64_t time,
                    bool partial, struct log_line *ret) {
    if (r->skip > 0) {
        r->skip--;
        return 0;
    }
    if (time < r->since) return 0;
    *ret = (struct log_line){
        .stream = i + 1, .time_unix_ns = time, .text = text, .len = len, .partial = partial};
    return 1;
}

/* What was gathered of stream I is a line, or all of it that will come. */
static int finish(struct log_reader *r, unsigned i, bool partial, struct log_line *ret) {
    struct assembler *a = &r->lines[i];
    a->handed_out = true;
    return hand_out(r, i, a->text, a->len, a->time, partial, ret);
}

/* Take bytes of a segment: up to a newline or the maximum. 1 = *ret is a line. */
static int take(struct log_reader *r, const struct segment *s, struct log_line *ret) {
    unsigned i = s->stream == LOG_STDERR ? 1 : 0;
    struct assembler *a = &r->lines[i];
    const char *nl = memchr(s->data, '\n', s->len);
    size_t n = nl ? (size_t) (nl - s->data) + 1 : s->len;
    if (a->len == 0 && nl && n <= LOGFILE_LINE_MAX) { /* whole in the block: no copy */
        r->pos += n;
        return hand_out(r, i, s->data, n, s->time, false, ret);
    }
    if (!a->text) a->text = mem_alloc(LOGFILE_LINE_MAX);
    if (!a->text) return -ENOMEM;
    if (a->len == 0) a->time = s->time;
    bool full = n >= LOGFILE_LINE_MAX - a->len;
    if (full && n > LOGFILE_LINE_MAX - a->len) {
        n = LOGFILE_LINE_MAX - a->len;
        nl = NULL;
    }
    memcpy(a->text + a->len, s->data, n);
    a->len += n;
    r->pos += n;
    return nl || full ? finish(r, i, !nl, ret) : 0;
}

static int end_lines(struct log_reader *r, bool partial, struct log_line *ret) {
    for (unsigned i = 0; i < 2; i++) {
        if (!(r->ending & (1U << i))) continue;
        r->ending &= ~(1U << i);
        if (r->lines[i].len == 0 || r->lines[i].handed_out) continue;
        int n = finish(r, i, partial, ret);
        if (n) return n;
    }
    return 0;
}

static void forget_handed_out(struct log_reader *r) {
    for (unsigned i = 0; i < 2; i++) {
        if (r->lines[i].handed_out) r->lines[i].len = 0;
        r->lines[i].handed_out = false;
    }
}

/* One step: 1 a line, 0 go on, -EAGAIN nothing more in the files as last asked. */
static int step(struct log_reader *r, struct log_line *ret) {
    forget_handed_out(r);
    if (r->ending) return end_lines(r, false, ret);
    struct segment s = {0};
    int n = r->number ? next_segment(r, &s) : 0;
    if (n < 0) return n;
    if (n == 1) return take(r, &s, ret);
    if (r->ending) return 0;
    if (r->number && !r->last && r->pos >= r->size && advance_file(r)) return 0;
    return -EAGAIN;
}

static bool in_a_line(const struct log_reader *r) {
    for (unsigned i = 0; i < 2; i++)
        if (r->lines[i].len > 0 && !r->lines[i].handed_out) return true;
    return false;
}

int log_reader_next(struct log_reader *r, bool flush, struct log_line *ret, struct err *err) {
    if (r->completes && !in_a_line(r)) return 0;
    for (bool asked = false;;) {
        int n = step(r, ret);
        if (n == 1) return 1;
        if (n == 0) continue;
        if (n != -EAGAIN) return err_set(err, n, "read the log");
        if (!asked) {
            asked = !refresh(r);
            continue;
        }
        if (!flush) return 0;
        if (r->stops && in_a_line(r)) {
            r->stops = asked = false;
            r->completes = true;
            continue;
        }
        r->ending = 3;
        n = end_lines(r, true, ret);
        r->ending = n ? r->ending : 0;
        return n;
    }
}

/* ---- the last lines ---- */

/* Newlines of the open file from its end back: the offset behind the one before the WANTED last, or
 * 0 with *ret_found less than WANTED. */
static uint64_t seek_back(struct log_reader *r, uint64_t wanted, uint64_t *ret_found) {
    uint64_t found = 0;
    for (uint64_t end = r->size; end > 0;) {
        size_t n = end < BLOCK ? (size_t) end : BLOCK;
        ssize_t got = pread(r->data, r->block, n, (off_t) (end - n));
        if (got != (ssize_t) n) break;
        for (const char *p = r->block + n;
             (p = memrchr(r->block, '\n', (size_t) (p - r->block)));) {
            if (found++ < wanted) continue;
            *ret_found = wanted;
            r->block_len = 0;
            return end - n + (size_t) (p - r->block) + 1;
        }
        end -= n;
    }
    r->block_len = 0;
    *ret_found = found;
    return 0;
}

static void seek_to(struct log_reader *r, uint64_t pos) {
    uint64_t low = 0, high;
    struct stat st;
    high = fstat(r->index, &st) < 0 ? 0 : (uint64_t) st.st_size / sizeof(struct log_record);
    while (low < high) { /* the first record behind POS */
        uint64_t mid = low + (high - low) / 2;
        const struct log_record *rec = record_at(r, mid);
        if (rec && offset_of(rec) <= pos)
            low = mid + 1;
        else
            high = mid;
    }
    r->record = low ? low - 1 : 0;
    r->pos = pos;
    r->batch_n = 0;
}

/* Stand so that at least the last WANTED lines lie ahead, if there are as many. */
static void seek_lines(struct log_reader *r, uint64_t wanted, uint32_t *ret_number,
                       uint64_t *ret_pos) {
    uint32_t highest = 0, lowest = next_number(r, 0, &highest);
    *ret_number = lowest;
    *ret_pos = 0;
    for (uint32_t n = highest; n && n >= lowest; n--) {
        if (open_number(r, n) < 0) continue;
        (void) refresh(r);
        uint64_t found;
        uint64_t pos = seek_back(r, wanted, &found);
        if (found >= wanted || n == lowest) {
            *ret_number = n;
            *ret_pos = pos;
            return;
        }
        wanted -= found;
    }
}

static int stand_at(struct log_reader *r, uint32_t number, uint64_t pos) {
    r->lines[0].len = r->lines[1].len = 0;
    r->lines[0].handed_out = r->lines[1].handed_out = false;
    r->ending = 0;
    if (!number) return 0;
    int e = open_number(r, number);
    if (e < 0) return e == -ENOENT ? 0 : e; /* rotated away just now: refresh finds the next */
    (void) refresh(r);
    seek_to(r, pos);
    return 0;
}

static void note_end(struct log_reader *r) {
    uint32_t highest = 0;
    (void) next_number(r, 0, &highest);
    auto_fd int data = highest ? open_file(r->dir, highest, "log") : -1;
    struct stat st;
    r->stop_size = data >= 0 && fstat(data, &st) == 0 ? (uint64_t) st.st_size : 0;
    r->stop_number = highest;
}

void log_reader_stop_here(struct log_reader *r) {
    if (!r->stop_number) note_end(r); /* or where the tail was counted */
    r->stops = true;
}

static int seek_tail(struct log_reader *r, int64_t tail) {
    uint32_t number;
    uint64_t pos;
    note_end(r);
    r->stops = true; /* it may grow as fast as we count */
    seek_lines(r, (uint64_t) tail * 2 + TAIL_SLACK, &number, &pos);
    int e = stand_at(r, number, pos);
    int64_t total = 0;
    int64_t since = r->since;
    r->since = INT64_MIN;
    struct log_line line;
    while (e == 0 && (e = log_reader_next(r, true, &line, NULL)) == 1) {
        total++;
        e = 0;
    }
    r->since = since;
    r->stops = r->completes = false;
    if (e < 0) return e;
    r->skip = total > tail ? total - tail : 0;
    return stand_at(r, number, pos);
}

static int set_up(struct log_reader *r, const char *dir, struct err *err) {
    r->dir = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (r->dir < 0) return err_set(err, -errno, "open %s", dir);
    r->block = mem_alloc(BLOCK);
    return r->block ? 0 : err_set(err, -ENOMEM, "read %s", dir);
}

int log_reader_open(const char *dir, int64_t since_unix_ns, int64_t tail, struct log_reader **ret,
                    struct err *err) {
    struct log_reader *r = mem_zalloc(sizeof *r);
    if (!r) return err_set(err, -ENOMEM, "read %s", dir);
    r->dir = r->data = r->index = -1;
    r->since = since_unix_ns > 0 ? since_unix_ns : INT64_MIN;
    int e = set_up(r, dir, err);
    if (e == 0 && tail >= 0) {
        e = seek_tail(r, tail < TAIL_MAX ? tail : TAIL_MAX);
        if (e < 0) err_set(err, e, "read %s", dir);
    }
    if (e < 0) {
        log_reader_free(r);
        return e;
    }
    *ret = r;
    return 0;
}

int log_reader_dir(const struct log_reader *r) {
    return r->dir;
}

const char *log_reader_damage(const struct log_reader *r) {
    return *r->damage ? r->damage : NULL;
}

void log_reader_free(struct log_reader *r) {
    if (!r) return;
    close_files(r);
    fd_close(&r->dir);
    mem_free(r->block);
    mem_free(r->lines[0].text);
    mem_free(r->lines[1].text);
    mem_free(r);
}
