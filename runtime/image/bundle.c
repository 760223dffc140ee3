// SPDX-License-Identifier: Apache-2.0
#include "runtime/image/bundle.h"

#include <archive_entry.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/base/buf.h"
#include "runtime/base/fd.h"
#include "runtime/base/mem.h"
#include "runtime/image/path.h"
#include "runtime/image/tar.h"

enum { LINKS_MAX = 8 };

struct member {
    uint64_t position;
    char *link; /* clean name that it stands for; NULL: a regular file */
};

static void member_free(struct member *m) {
    if (!m) return;
    mem_free(m->link);
    mem_free(m);
}

/* TARGET as seen from the directory of NAME: leading "../" go up, the rest is cleaned. NULL in *ret
 * when it leaves the archive or is no plain name: such a member cannot be read. */
static int link_name(const char *name, const char *target, bool hard, char **ret) {
    char dir[IMAGE_PATH_BYTES_MAX + 1], clean[IMAGE_PATH_BYTES_MAX + 1];
    size_t n = hard ? 0 : (size_t) (image__path_base(name) - name);
    memcpy(dir, name, n);
    while (!hard && strncmp(target, "../", 3) == 0 && n) {
        target += 3;
        n--;
        while (n && dir[n - 1] != '/') n--;
    }
    *ret = NULL;
    auto_free char *joined = mem_printf("%.*s%s", (int) n, dir, target);
    if (!joined) return -ENOMEM;
    if (image__path_clean(joined, clean, NULL) < 0) return 0;
    *ret = mem_strdup(clean);
    return *ret ? 0 : -ENOMEM;
}

static int add(struct image_bundle *b, struct archive_entry *e, uint64_t position) {
    char name[IMAGE_PATH_BYTES_MAX + 1];
    const char *raw = archive_entry_pathname(e);
    const char *hard = archive_entry_hardlink(e), *soft = archive_entry_symlink(e);
    if (!raw || image__path_clean(raw, name, NULL) < 0) return 0; /* nothing that we would read */
    if (!hard && !soft && archive_entry_filetype(e) != AE_IFREG) return 0;
    if (map_len(&b->members) >= IMAGE_MEMBERS_MAX) {
        b->overflow = true;
        return 0;
    }
    if (map_get(&b->members, name)) {
        if (!*b->duplicate) (void) snprintf(b->duplicate, sizeof b->duplicate, "%.200s", name);
        return 0;
    }
    struct member *m = mem_zalloc(sizeof *m);
    if (!m) return -ENOMEM;
    m->position = position;
    int r = hard || soft ? link_name(name, hard ? hard : soft, hard != NULL, &m->link) : 0;
    if (r == 0 && (hard || soft) && !m->link) { /* leads nowhere */
        member_free(m);
        return 0;
    }
    if (r == 0) r = map_set(&b->members, name, m);
    if (r < 0) member_free(m);
    return r;
}

int image__bundle_init(struct image_bundle *b, int fd, struct err *err) {
    *b = (struct image_bundle){.fd = fd, .empty = true};
    auto_tar struct image_tar *t = NULL;
    struct archive_entry *e = NULL;
    int r = image__tar_from_file(fd, 0, &t, err);
    if (r < 0) return r;
    while ((r = image__tar_next(t, &e, err)) > 0) {
        b->empty = false;
        r = add(b, e, image__tar_position(t));
        if (r < 0) return err_set(err, r, "list the archive");
    }
    return r;
}

void image__bundle_fini(struct image_bundle *b) {
    void *m = NULL;
    for (size_t i = 0; map_next(&b->members, &i, NULL, &m);) member_free(m);
    map_fini(&b->members);
}

static const struct member *find(const struct image_bundle *b, const char *name) {
    const struct member *m = map_get(&b->members, name);
    for (int hops = 0; m && m->link; hops++) {
        if (hops == LINKS_MAX) return NULL;
        m = map_get(&b->members, m->link);
    }
    return m;
}

bool image__bundle_has(const struct image_bundle *b, const char *name) {
    return find(b, name) != NULL;
}

static int open_member(const struct image_bundle *b, const char *name, struct image_tar **ret,
                       struct err *err) {
    char clean[IMAGE_PATH_BYTES_MAX + 1];
    struct archive_entry *e = NULL;
    int r = image__path_clean(name, clean, err);
    if (r < 0) return r;
    const struct member *m = find(b, clean);
    if (!m) return err_say(err, -ENOENT, "\"%.120s\" is not in the archive", name);
    auto_tar struct image_tar *t = NULL;
    r = image__tar_from_file(b->fd, m->position, &t, err);
    if (r == 0) r = image__tar_next(t, &e, err);
    if (r < 0) return r;
    if (r == 0) return err_set(err, -EBADMSG, "\"%.120s\" cannot be read again", name);
    *ret = steal_ptr(&t);
    return 0;
}

int image__bundle_read(const struct image_bundle *b, const char *name, size_t max, char **ret,
                       size_t *ret_n, struct err *err) {
    auto_tar struct image_tar *t = NULL;
    const void *p = NULL;
    size_t n = 0;
    uint64_t offset = 0;
    struct buf out;
    int r = open_member(b, name, &t, err);
    if (r < 0) return r;
    buf_init(&out, max);
    while ((r = image__tar_data(t, &p, &n, &offset, err)) > 0) {
        if (n && offset != out.len)
            r = err_set(err, -EBADMSG, "\"%.120s\" has holes", name);
        else if (buf_add(&out, p, n) < 0)
            r = err_set(err, buf_error(&out), "\"%.120s\"", name);
        if (r < 0) break;
    }
    if (r == 0) {
        *ret_n = out.len;
        *ret = buf_take(&out);
        if (!*ret) r = err_set(err, -ENOMEM, "\"%.120s\"", name);
    }
    buf_fini(&out);
    return r;
}

static int copy_data(struct image_tar *t, int out_fd, struct image_budget *budget,
                     struct image_hash *h, uint64_t *ret_n, struct err *err) {
    const void *p = NULL;
    size_t n = 0;
    uint64_t offset = 0, total = 0;
    int r;
    while ((r = image__tar_data(t, &p, &n, &offset, err)) > 0) {
        if (n == 0) continue;
        if (offset != total) return err_set(err, -EBADMSG, "a blob of the archive has holes");
        r = image__budget_bytes(budget, n, err);
        if (r < 0) return r;
        r = image__hash_add(h, p, n);
        if (r == 0) r = fd_write_all(out_fd, p, n);
        if (r < 0) return err_set(err, r, "write to the image store");
        total += n;
    }
    *ret_n = total;
    return r;
}

int image__bundle_copy(const struct image_bundle *b, const char *name, int out_fd,
                       struct image_budget *budget, uint64_t *ret_n,
                       char ret_hex[static IMAGE_HEX_MAX], struct err *err) {
    auto_tar struct image_tar *t = NULL;
    struct image_hash h = {0};
    int r = open_member(b, name, &t, err);
    if (r < 0) return r;
    r = image__hash_init(&h);
    if (r < 0) return err_set(err, r, "hash \"%.120s\"", name);
    r = copy_data(t, out_fd, budget, &h, ret_n, err);
    if (r == 0) {
        r = image__hash_end(&h, ret_hex);
        if (r < 0) return err_set(err, r, "hash \"%.120s\"", name);
    }
    image__hash_fini(&h);
    return r < 0 ? err_wrap(err, r, "\"%.120s\"", name) : 0;
}
