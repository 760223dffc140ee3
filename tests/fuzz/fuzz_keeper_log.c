// SPDX-License-Identifier: Apache-2.0
/* An index and a data file that lie: the reader ends, and hands out no more than there is. */
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/base/fd.h"
#include "runtime/base/mem.h"
#include "runtime/keeper/logfile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { INPUT_MAX = 64 * 1024 };

static char dir[] = "/dev/shm/orlop-fuzz-log-XXXXXX";

static void clean_up(void) {
    if (fd_remove_tree(AT_FDCWD, dir) < 0) abort();
}

static void put(int at, const char *name, const uint8_t *data, size_t n) {
    auto_fd int fd = openat(at, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ensure(fd >= 0 && fd_write_all(fd, data, n) == 0);
}

/* With the check that belongs to each record, where the first byte says so. */
static void seal(uint8_t *p, size_t n) {
    struct log_record r;
    for (; n >= sizeof r; p += sizeof r, n -= sizeof r) {
        memcpy(&r, p, sizeof r);
        if (log_record_is_end(&r)) continue;
        r = log_record_make(r.time_unix_ns, log_record_offset(&r), log_record_stream(&r));
        memcpy(p, &r, sizeof r);
    }
}

static void read_all(size_t bytes, int64_t tail) {
    struct log_reader *r;
    struct log_line l;
    size_t sum = 0;
    if (log_reader_open(dir, 0, tail, &r, NULL) < 0) return;
    while (log_reader_next(r, true, &l, NULL) == 1) {
        ensure(l.len <= LOGFILE_LINE_MAX);
        sum += l.len;
        ensure(sum <= bytes);
    }
    log_reader_free(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static int at = -1;
    if (size < 2 || size > INPUT_MAX) return 0;
    if (at < 0) {
        if (!mkdtemp(dir)) abort();
        at = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        atexit(clean_up);
    }
    size_t rest = size - 1, index = rest * data[0] / 255;
    auto_free uint8_t *p = mem_dup(data + 1, rest);
    if (!p) return 0;
    if (data[0] & 1) {
        seal(p, index / 2);
        seal(p + index / 2, index - index / 2);
    }
    put(at, "1.idx", p, index / 2);
    put(at, "1.log", p + index, (rest - index) / 2);
    put(at, "2.idx", p + index / 2, index - index / 2);
    put(at, "2.log", p + index + (rest - index) / 2, rest - index - (rest - index) / 2);
    read_all(rest, -1);
    read_all(rest, data[0] % 8);
    return 0;
}
