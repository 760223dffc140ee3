// SPDX-License-Identifier: Apache-2.0
#include "damage.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/base/fd.h"
#include "runtime/base/mem.h"
#include "runtime/base/str.h"

enum { FILE_MAX = 1 << 30 };

void damage_temp_dir(char ret[static 64]) {
    snprintf(ret, 64, "/dev/shm/orlop-damage-XXXXXX");
    if (mkdtemp(ret)) return;
    snprintf(ret, 64, "/tmp/orlop-damage-XXXXXX");
    ensure(mkdtemp(ret));
}

static void take_one(struct damage *d, const char *name) {
    struct stat st;
    ensure(fstatat(d->dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0);
    if (!S_ISREG(st.st_mode)) return;
    d->files = mem_resize(d->files, d->n + 1, sizeof *d->files);
    ensure(d->files);
    struct damaged_file *f = &d->files[d->n++];
    char *data = NULL;
    f->name = mem_strdup(name);
    ensure(f->name && fd_read_file(d->dirfd, name, FILE_MAX, &data, &f->size) == 0);
    f->data = (uint8_t *) data;
    f->used = f->size;
    while (f->used && !f->data[f->used - 1]) f->used--;
}

static void each_entry(int dirfd, void (*each)(struct damage *, const char *), struct damage *d) {
    int dup = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *list = fdopendir(dup);
    ensure(list);
    for (struct dirent *e; (e = readdir(list));)
        if (!str_eq(e->d_name, ".") && !str_eq(e->d_name, "..")) each(d, e->d_name);
    closedir(list);
}

void damage_take(struct damage *d, const char *dir) {
    *d = (struct damage){.dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    ensure(d->dirfd >= 0);
    each_entry(d->dirfd, take_one, d);
}

void damage_free(struct damage *d) {
    for (size_t i = 0; i < d->n; i++) {
        mem_free(d->files[i].name);
        mem_free(d->files[i].data);
    }
    mem_free(d->files);
    fd_close(&d->dirfd);
}

static void write_file(struct damage *d, const char *name, const uint8_t *data, size_t used,
                       size_t size) {
    auto_fd int fd = openat(d->dirfd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ensure(fd >= 0 && fd_write_all(fd, data, used < size ? used : size) == 0);
    ensure(ftruncate(fd, (off_t) size) == 0);
}

static void drop_new(struct damage *d, const char *name) {
    struct stat st;
    if (fstatat(d->dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode)) return;
    for (size_t i = 0; i < d->n; i++)
        if (str_eq(d->files[i].name, name)) return;
    ensure(fd_remove_tree(d->dirfd, name) == 0);
}

void damage_undo(struct damage *d) {
    each_entry(d->dirfd, drop_new, d);
    for (size_t i = 0; i < d->n; i++)
        write_file(d, d->files[i].name, d->files[i].data, d->files[i].used, d->files[i].size);
}

const struct damaged_file *damage_file(const struct damage *d, const char *name) {
    for (size_t i = 0; i < d->n; i++)
        if (str_eq(d->files[i].name, name)) return &d->files[i];
    ensure(false); /* there is no file of that name */
    return NULL;
}

void damage_cut(struct damage *d, const char *name, size_t size) {
    const struct damaged_file *f = damage_file(d, name);
    ensure(size <= f->size);
    write_file(d, name, f->data, f->used, size);
}

void damage_flip(struct damage *d, const char *name, uint64_t bit) {
    const struct damaged_file *f = damage_file(d, name);
    uint8_t byte = (uint8_t) (f->data[bit / 8] ^ 1U << bit % 8);
    auto_fd int fd = openat(d->dirfd, name, O_WRONLY | O_CLOEXEC);
    ensure(fd >= 0 && pwrite(fd, &byte, 1, (off_t) (bit / 8)) == 1);
}

void damage_zero(struct damage *d, const char *name, size_t from, size_t to) {
    static const uint8_t zeros[65536];
    auto_fd int fd = openat(d->dirfd, name, O_WRONLY | O_CLOEXEC);
    ensure(fd >= 0 && to - from <= sizeof zeros);
    ensure(pwrite(fd, zeros, to - from, (off_t) from) == (ssize_t) (to - from));
}
