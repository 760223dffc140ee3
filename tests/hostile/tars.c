// SPDX-License-Identifier: Apache-2.0
/* hostile_tars DIR CANARY: archives for I1 and I2 into DIR, one attack a file. CANARY is a folder of the
 * host with a file "victim" in it. The name says what must come of it: refuse-*: an error;
 * any-*: an error or an image, but nothing outside. */
#include <archive.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/base/fd.h"
#include "runtime/base/mem.h"
#include "tests/unit/image/archive.h"

enum { TAR_MAX = 512 << 20, ZEROS = 400 << 20, LONG = 5000 };

static const char *dir;

static void save(const char *name, struct buf *tar) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    auto_fd int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    ensure(fd >= 0 && fd_write_all(fd, tar->data, tar->len) == 0);
    buf_fini(tar);
}

static void save_entries(const char *name, const struct tar_entry *e, size_t n) {
    struct buf tar;
    buf_init(&tar, TAR_MAX);
    for (size_t i = 0; i < n; i++) archive_add(&tar, &e[i]);
    archive_end(&tar);
    save(name, &tar);
}

/* --- each kind of entry, under each kind of name that leads out --- */

static const struct {
    const char *name;
    struct tar_entry e; /* its name is what the way out puts before it */
} kinds[] = {
    {"file", {'0', "victim", .data = "overwritten"}},
    {"dir", {'5', "made", .mode = 0777}},
    {"chmod", {'5', "", .mode = 0777}},
    {"symlink", {'2', "made", .link = "/etc/passwd"}},
    {"fifo", {'6', "made", .data = NULL}},
    {"device", {'4', "made", .major = 8, .minor = 0}},
    {"whiteout", {'0', ".wh.victim", .data = NULL}},
    {"opaque", {'0', ".wh..wh..opq", .data = NULL}},
};

static void each_kind(const char *expect, const char *way, const struct tar_entry *first,
                      const char *prefix) {
    for (size_t i = 0; i < array_len(kinds); i++) {
        struct tar_entry e[2];
        char name[128], file[128];
        size_t n = 0;
        if (first) e[n++] = *first;
        snprintf(name, sizeof name, "%s%s", prefix, kinds[i].e.name);
        e[n] = kinds[i].e;
        e[n++].name = name;
        snprintf(file, sizeof file, "%s-%s-%s.tar", expect, way, kinds[i].name);
        save_entries(file, e, n);
    }
}

static void ways_out(const char *canary) {
    char up[100], plain[100], link_up[100];
    snprintf(up, sizeof up, "../../../../../../..%s/", canary);
    snprintf(plain, sizeof plain, "%s/", canary);
    snprintf(link_up, sizeof link_up, "../../../../../../..%s", canary);
    const struct tar_entry absolute = {'2', "way", .link = canary},
                           climbing = {'2', "way", .link = link_up},
                           magic = {'2', "way", .link = "/proc/self/cwd"};
    each_kind("refuse", "dotdot", NULL, up);
    each_kind("refuse", "dotdot-within", NULL, "a/b/../../../canary/");
    each_kind("any", "absolute", NULL, plain);
    each_kind("any", "symlink", &absolute, "way/");
    each_kind("any", "climbing-symlink", &climbing, "way/");
    each_kind("any", "magic-symlink", &magic, "way/");
}

static void links_out(const char *canary) {
    char victim[100], up[100];
    snprintf(victim, sizeof victim, "%s/victim", canary);
    snprintf(up, sizeof up, "../../../../../../..%s/victim", canary);
    const struct tar_entry way = {'2', "way", .link = canary}, hard = {'1', "h", .link = victim},
                           climbing = {'1', "h", .link = up},
                           by_way = {'1', "h", .link = "way/victim"},
                           over = {'0', "h", .data = "overwritten"},
                           soft = {'2', "s", .link = victim}, onto = {'0', "s", .data = "over"};
    save_entries("refuse-hard-link.tar", (struct tar_entry[]){hard, over}, 2);
    save_entries("refuse-hard-link-dotdot.tar", (struct tar_entry[]){climbing, over}, 2);
    save_entries("refuse-hard-link-by-symlink.tar", (struct tar_entry[]){way, by_way, over}, 3);
    save_entries("any-file-over-symlink.tar", (struct tar_entry[]){soft, onto}, 2);
}

/* --- names, attributes, numbers --- */

static void with_pax(const char *file, const char *key, const char *value, size_t n) {
    struct buf tar;
    buf_init(&tar, TAR_MAX);
    archive_add_pax(&tar, key, value, n);
    archive_add_data(&tar, "x", "data", 4);
    archive_end(&tar);
    save(file, &tar);
}

static void odd_entries(void) {
    char name[LONG];
    memset(name, 'n', sizeof name);
    with_pax("refuse-long-name.tar", "path", name, sizeof name);
    with_pax("any-long-link.tar", "linkpath", name, sizeof name);
    for (size_t i = 0; i < sizeof name; i += 2) memcpy(name + i, "d/", 2);
    with_pax("refuse-deep-name.tar", "path", name, 2000);
    with_pax("refuse-overlay-redirect.tar", "SCHILY.xattr.trusted.overlay.redirect", "/etc", 4);
    with_pax("refuse-overlay-opaque.tar", "SCHILY.xattr.trusted.overlay.opaque", "y", 1);
    with_pax("refuse-overlay-user.tar", "SCHILY.xattr.user.overlay.opaque", "y", 1);
    with_pax("refuse-owner.tar", "uid", "4294967295", 10);
    with_pax("any-owner-negative.tar", "gid", "-1", 2);
    with_pax("any-sparse-huge.tar", "GNU.sparse.realsize", "4611686018427387904", 19);
    const struct tar_entry white = {'3', "w", .data = NULL};
    save_entries("refuse-device-0-0.tar", &white, 1);
}

/* --- bombs: little goes in, much would come out --- */

static void bomb(const char *name, int filter) {
    struct buf tar;
    char *zeros = calloc(1, ZEROS);
    ensure(zeros != NULL);
    buf_init(&tar, TAR_MAX);
    archive_add_data(&tar, "zeros", zeros, ZEROS);
    archive_end(&tar);
    free(zeros);
    archive_compress(&tar, filter);
    save(name, &tar);
}

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    dir = argv[1];
    ways_out(argv[2]);
    links_out(argv[2]);
    odd_entries();
    bomb("refuse-bomb.tar.gz", ARCHIVE_FILTER_GZIP);
    bomb("refuse-bomb.tar.zst", ARCHIVE_FILTER_ZSTD);
    return 0;
}
