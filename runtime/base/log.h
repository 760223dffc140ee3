// SPDX-License-Identifier: Apache-2.0
/* runtime/base/log.h - logfmt lines on stderr: `ts= lvl= comp= ev= key=value ...`.
 *
 * Role     for the daemons only; libraries return context in struct err instead, and log at debug.
 *          EV is a stable dotted name ("task.start"); FMT makes the key=value pairs; values from
 *          outside go through %s in quotes: key=\"%s\" - control characters are escaped here.
 * Thread   [any]: one write(2) a line. Lines above 4 KiB are cut.
 */
#ifndef ORLOP_BASE_LOG_H
#define ORLOP_BASE_LOG_H

#include "err.h"

enum log_level { LOG_DEBUG = 1, LOG_INFO, LOG_WARN, LOG_ERROR };

/* COMPONENT is kept, not copied. Level from ORLOP_LOG (debug, info, warn, error); info by default.
 */
void log_init(const char *component);
void log_set_level(enum log_level level);
void log_event(enum log_level level, const char *ev, const char *fmt, ...) printf_like(3, 4);
#define log_debug(ev, ...) log_event(LOG_DEBUG, ev, __VA_ARGS__)
#define log_info(ev, ...) log_event(LOG_INFO, ev, __VA_ARGS__)
#define log_warn(ev, ...) log_event(LOG_WARN, ev, __VA_ARGS__)
#define log_error(ev, ...) log_event(LOG_ERROR, ev, __VA_ARGS__)

#endif
