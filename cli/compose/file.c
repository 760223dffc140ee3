// SPDX-License-Identifier: Apache-2.0
/* The files of a load: read once, kept for the messages that show their lines. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "cf.h"
#include "runtime/base/fd.h"

const struct cf_file *cf_file(const struct compose_project *c, uint32_t file) {
    return c->files[file < c->n_files ? file : 0];
}

/* Record 0 is the project itself: what has no file. */
static uint32_t record(struct compose_project *c, const char *path, const char *base) {
    struct cf_file *f = cf_alloc(c, sizeof *f);
    if (c->n_files == c->cap_files) {
        uint32_t cap = c->cap_files ? c->cap_files * 2 : 8;
        struct cf_file **files = cf_alloc(c, cap * sizeof(struct cf_file *));
        if (c->n_files) memcpy(files, c->files, c->n_files * sizeof(struct cf_file *));
        c->files = files;
        c->cap_files = cap;
    }
    f->path = cf_strdup(c, path);
    f->base = cf_strdup(c, base);
    c->files[c->n_files] = f;
    return c->n_files++;
}

int64_t cf_file_read(struct compose_project *c, const char *path, const char *shown,
                     const char *base, const struct cf_node *at) {
    if (c->n_files == CF_FILES) {
        cf_issue(c, at, "io", "more than %d files in one project", CF_FILES);
        return -1;
    }
    struct stat st = {0};
    if (stat(path, &st) == 0 && (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode)) &&
        !str_eq(path, "/dev/stdin")) {
        cf_issue(c, at, "io", "cannot read %s: it is a device", shown);
        return -1;
    }
    bool huge = S_ISREG(st.st_mode) && st.st_size > CF_FILE_BYTES; /* do not even begin */
    uint32_t number = record(c, shown, base);
    int r = huge ? -EFBIG
                 : fd_read_file(AT_FDCWD, path, CF_FILE_BYTES, &c->files[number]->text,
                                &c->files[number]->len);
    if (r == 0) return number;
    c->n_files--;
    if (r == -EFBIG)
        cf_issue(c, at, "yaml-size", "%s is larger than %d MiB", shown, CF_FILE_BYTES >> 20);
    else
        cf_issue(c, at, "io", "cannot read %s: %s", shown, err_text(r));
    return -1;
}

int64_t cf_file_of_text(struct compose_project *c, const char *path, const char *base,
                        const char *text, size_t len) {
    if (c->n_files == CF_FILES) return -1;
    uint32_t number = record(c, path, base);
    c->files[number]->text = mem_zalloc(len + 1); /* a NUL behind it, as fd_read_file() does */
    if (!c->files[number]->text) cf_no_memory(c);
    memcpy(c->files[number]->text, text, len);
    c->files[number]->len = len;
    return number;
}
