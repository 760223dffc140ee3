// SPDX-License-Identifier: Apache-2.0
#include "term.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "runtime/base/fd.h"
#include "runtime/base/mem.h"

enum { MAGIC = 0x4d524554 /* "TERM" */, METADATA_MAX = 64, FORMAT = 1 };

static const char file_name[] = "orlop-term";
static const char *const metadata_name[] = {"metadata1", "metadata2"};

struct file {
    uint64_t magic, term, vote, hash;
};

struct metadata { /* raft's */
    uint64_t format, version, term, vote;
};

static uint64_t hash_of(const struct file *f) {
    return str_hash(f, offsetof(struct file, hash));
}

int term_save(int dirfd, const struct term *t) {
    struct file f = {.magic = MAGIC, .term = t->term, .vote = t->vote};
    f.hash = hash_of(&f);
    return fd_replace_file(dirfd, file_name, &f, sizeof f, 0600);
}

/* 1 = read; 0 = it is not there; -EBADMSG. */
static int load_ours(int dirfd, struct term *ret) {
    auto_free char *data = NULL;
    size_t size;
    struct file f;
    int r = fd_read_file(dirfd, file_name, METADATA_MAX, &data, &size);
    if (r == -ENOENT) return 0;
    if (r < 0) return r == -EFBIG ? -EBADMSG : r;
    if (size != sizeof f) return -EBADMSG;
    memcpy(&f, data, sizeof f);
    if (f.magic != MAGIC || f.hash != hash_of(&f)) return -EBADMSG;
    *ret = (struct term){f.term, f.vote};
    return 1;
}

/* Metadata I of raft, as raft wants it: 1; 0 = it is not there; -EBADMSG. */
static int load_one(int dirfd, int i, struct metadata *ret) {
    auto_free char *data = NULL;
    size_t size;
    int r = fd_read_file(dirfd, metadata_name[i], METADATA_MAX, &data, &size);
    if (r == -ENOENT) return 0;
    if (r < 0) return r == -EFBIG ? -EBADMSG : r;
    if (size != sizeof *ret) return -EBADMSG;
    memcpy(ret, data, sizeof *ret);
    bool mine = ret->version % 2 == (i == 0);
    return ret->format == FORMAT && ret->version && ret->term && mine ? 1 : -EBADMSG;
}

/* Raft writes them in turn, so that their versions are neighbours. */
static int load_raft(int dirfd, struct term *ret) {
    struct metadata m[2] = {0};
    int r[2] = {load_one(dirfd, 0, &m[0]), load_one(dirfd, 1, &m[1])};
    if (r[0] < 0) return r[0];
    if (r[1] < 0) return r[1];
    const struct metadata *last = &m[m[1].version > m[0].version];
    const struct metadata *first = last == &m[0] ? &m[1] : &m[0];
    bool alone = !first->version && last->version == 1;
    bool both = first->version && first->version + 1 == last->version && first->term <= last->term;
    if (!alone && !both) return -EBADMSG;
    *ret = (struct term){last->term, last->vote};
    return 1;
}

static int rewrite_raft(int dirfd, const struct term *t) {
    struct metadata m = {FORMAT, 1, t->term, t->vote};
    int r = fd_replace_file(dirfd, metadata_name[0], &m, sizeof m, 0600);
    if (r < 0) return r;
    if (unlinkat(dirfd, metadata_name[1], 0) < 0 && errno != ENOENT) return -errno;
    return fsync(dirfd) < 0 ? -errno : 0;
}

static int say(struct strv *said, char *text) {
    int r = text ? strv_take(said, text) : -ENOMEM;
    if (r < 0) mem_free(text);
    return r;
}

int term_verify(int dirfd, struct strv *said, struct term *ret, struct err *err) {
    struct term ours = {0}, theirs = {0};
    int have_ours = load_ours(dirfd, &ours), have_theirs = load_raft(dirfd, &theirs);
    int r = 0;
    if (have_ours < 0 && have_ours != -EBADMSG)
        return err_set(err, have_ours, "read %s", file_name);
    if (have_theirs < 0 && have_theirs != -EBADMSG)
        return err_set(err, have_theirs, "read metadata1 and metadata2");
    if (have_ours == 1) {
        *ret = ours;
        if (have_theirs == 1 && memcmp(&ours, &theirs, sizeof ours) == 0) return 0;
        r = say(said, mem_printf("metadata1 and metadata2 do not say what %s says: written anew "
                                 "with term %" PRIu64,
                                 file_name, ours.term));
        if (r == 0) r = rewrite_raft(dirfd, &ours);
    } else {
        if (have_theirs != 1)
            return err_say(err, -EBADMSG, "both %s and raft's metadata are damaged or gone",
                           file_name);
        *ret = theirs;
        if (have_ours < 0)
            r = say(said,
                    mem_printf("%s was damaged: written anew from raft's metadata, term %" PRIu64,
                               file_name, theirs.term));
        if (r == 0) r = term_save(dirfd, &theirs);
    }
    return r < 0 ? err_set(err, r, "repair term and vote") : 0;
}
