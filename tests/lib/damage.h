// SPDX-License-Identifier: Apache-2.0
/* tests/lib/damage.h - a directory as it was, again and again, each time with one file hurt.
 *
 *   damage_take(&d, dir); damage_cut(&d, name, size) or damage_flip(&d, name, bit); open it; look;
 *   damage_undo(&d): DIR is again what it was, whatever the one who opened it has done.
 *
 * Regular files directly in DIR only (directories stay as they are); a tail of zeros is written back as a hole. */
#ifndef ORLOP_TESTS_DAMAGE_H
#define ORLOP_TESTS_DAMAGE_H

#include <stddef.h>
#include <stdint.h>

struct damaged_file {
    char *name;
    uint8_t *data;
    size_t size;
    size_t used; /* behind it there are only zeros */
};

struct damage {
    int dirfd;
    struct damaged_file *files;
    size_t n;
};

void damage_take(struct damage *d, const char *dir);
void damage_free(struct damage *d);
void damage_undo(struct damage *d);
const struct damaged_file *damage_file(const struct damage *d, const char *name);
void damage_cut(struct damage *d, const char *name, size_t size);
void damage_flip(struct damage *d, const char *name, uint64_t bit);
/* All from AT on is zero, as where a write never arrived; the size stays. */
void damage_zero(struct damage *d, const char *name, size_t from, size_t to);

/* A temporary directory in memory, when there is one; RET takes 64 bytes. */
void damage_temp_dir(char ret[static 64]);

#endif
