// SPDX-License-Identifier: Apache-2.0
/* STATE/raft as it might lie on a disk: segments, a snapshot with its .meta, metadata, term. What is
 * refused is left alone; what is repaired can be used. */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/base/fd.h"
#include "runtime/base/mem.h"
#include "scheduler/raft/segment.h"
#include "scheduler/raft/snapshot_frame.h"
#include "scheduler/raft/term.h"
#include "scheduler/raft/verify.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { INPUT_MAX = 16384 };

static char dir[] = "/dev/shm/orlop-fuzz-raft-XXXXXX";

static void clean_up(void) {
    if (fd_remove_tree(AT_FDCWD, dir) < 0) abort();
}

static int make_dir(void) {
    ensure(mkdtemp(dir));
    atexit(clean_up);
    return open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* With the checksums that belong to it: else nearly everything would end there. */
static void seal(uint8_t *p, size_t size) {
    for (size_t at = 8; size - at >= 40 && size > at;) {
        uint64_t n;
        memcpy(&n, p + at + 8, sizeof n);
        if (n < 1 || n > (size - at - 16) / 16) return;
        size_t head = 16 + (size_t) n * 16, sum = head;
        for (uint64_t i = 0; i < n; i++) {
            uint32_t bytes;
            memcpy(&bytes, p + at + 16 + i * 16 + 12, sizeof bytes);
            sum += bytes;
        }
        if (sum > size - at) return;
        uint32_t crc[2] = {segment_crc(p + at + 8, head - 8),
                           segment_crc(p + at + head, sum - head)};
        memcpy(p + at, crc, sizeof crc);
        at += sum;
    }
}

static void check_scan(const uint8_t *p, size_t size) {
    struct segment s;
    segment_scan(p, size, &s);
    ensure(s.end && s.used <= size && s.behind <= size - s.used && s.size == size);
    ensure(s.entries == 0 || s.used > 8);
    if (s.end == SEGMENT_WHOLE || s.end == SEGMENT_EXACT) ensure(s.behind == 0);
    (void) !segment_check_meta(p, size);
    struct snapshot_frame f;
    if (snapshot_frame_check(p, size, &f) == 0) ensure(f.len == size - sizeof f);
}

static void put(int at, const char *name, const uint8_t *data, size_t n) {
    auto_fd int fd = openat(at, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ensure(fd >= 0 && fd_write_all(fd, data, n) == 0);
}

static int verify(int at) {
    struct strv said = {0};
    struct err err = {0};
    struct term t;
    int r = term_verify(at, &said, &t, &err);
    if (r == 0) r = verify_log(at, &said, &err);
    ensure(r == 0 || err.text[0]);
    strv_fini(&said);
    return r;
}

static const char *const names[] = {"open-1",
                                    "0000000000000001-0000000000000001",
                                    "0000000000000002-0000000000000003",
                                    "snapshot-1-1-1",
                                    "snapshot-1-1-1.meta",
                                    "open-2",
                                    "metadata1",
                                    "metadata2",
                                    "orlop-term"};

/* A bit per name: is it there? Then for each a share of what is left. */
static void check_directory(int at, const uint8_t *data, size_t size) {
    uint32_t which = data[0] | (uint32_t) (data[1] & 1) << 8;
    data += 2;
    size -= 2;
    for (size_t i = 0; i < array_len(names); i++) {
        (void) unlinkat(at, names[i], 0);
        if (!(which & 1U << i) || size == 0) continue;
        size_t n = 1 + data[0] * (size - 1) / 255;
        put(at, names[i], data, n);
        data += n;
        size -= n;
    }
    if (verify(at) == 0) ensure(verify(at) == 0);
    ensure(fd_remove_tree(AT_FDCWD, dir) == 0 && mkdir(dir, 0700) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 3 || size > INPUT_MAX) return 0;
    auto_free uint8_t *copy = mem_dup(data, size);
    if (!copy) return 0;
    if (copy[0] & 2) seal(copy + 1, size - 1);
    check_scan(copy + 1, size - 1);
    if (!(copy[0] & 1)) return 0;
    static bool made;
    if (!made) {
        int first = make_dir();
        fd_close(&first);
        made = true;
    }
    auto_fd int at = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ensure(at >= 0);
    check_directory(at, copy + 1, size - 1);
    return 0;
}
