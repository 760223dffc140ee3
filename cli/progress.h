// SPDX-License-Identifier: Apache-2.0
/* cli/progress.h - how far the services are: redrawn in place on a terminal, a line per change
 * elsewhere. On stderr, so that the output proper stays clean.
 *
 * Thread   one.
 */
#ifndef ORLOP_CLI_PROGRESS_H
#define ORLOP_CLI_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>

#include "runtime/base/buf.h"
#include "runtime/base/map.h"

struct progress {
    bool terminal;
    int lines;       /* drawn last time */
    struct map last; /* subject -> text (char *) */
    struct buf next; /* what is being drawn */
    bool changed;
};

enum progress_mark { PROGRESS_BUSY, PROGRESS_DONE, PROGRESS_FAILED };

void progress_begin(struct progress *p);
/* A round: title, one line per subject, then show. */
void progress_title(struct progress *p, const char *fmt, ...) printf_like(2, 3);
void progress_line(struct progress *p, enum progress_mark mark, const char *subject,
                   const char *fmt, ...) printf_like(4, 5);
void progress_show(struct progress *p);
void progress_end(struct progress *p);

#endif
