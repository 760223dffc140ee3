// SPDX-License-Identifier: Apache-2.0
/* tests/hostile/common.h - what the attack rows share that need a sandbox but no node: the rig, a
 * peer that exchanges two names, an exec, the static attack program inside the image.
 */
#ifndef ORLOP_TESTS_HOSTILE_COMMON_H
#define ORLOP_TESTS_HOSTILE_COMMON_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <cmocka.h>

#include "rig.h"

static const uint64_t caps_default = 0xa80425fb;

extern struct rig rig;
extern struct rig_result res; /* of the last run */

#define SH(script) ((const char *const[]){"/bin/sh", "-c", script, NULL})

/* Runs TESTS, or says why this machine cannot (77). */
int hostile_main(const struct CMUnitTest *tests, size_t n);

/* How often a race is run: N, times the variable ORLOP_HOSTILE_TRIES of the long form. */
unsigned hostile_tries(unsigned n);

/* Start, run to the end, free. */
void hostile_run(struct rig_spec *s);
/* PROGRAM in /bin/attack of the sandbox's root. */
void hostile_add_attack(struct rig_spec *s);

/* FD negative: a tmpfs. M and LIST are the caller's. */
void hostile_mount(struct rig_spec *s, Orlop__SandboxMount *m, Orlop__SandboxMount **list,
                   char *target, int fd);
int hostile_bind(const char *path);

/* A sandbox that runs on. */
void hostile_start(struct rig_spec *s, struct container_process *p);
void hostile_end(struct rig_spec *s, struct container_process *p);

/* One exec in P with both streams in ret->out; the code of container_exec or of the report is in
 * ret->failed. EXTRA >= 0 goes along as one of the request's descriptors. */
struct hostile_exec {
    const char *const *argv;
    const char *cwd, *user;
    int extra;
    bool extra_is_filter; /* its seccomp program */
};
void hostile_exec(const struct container_process *p, const struct hostile_exec *x,
                  struct rig_result *ret);

/* A child that exchanges DIR/a and DIR/b until it is stopped. */
pid_t hostile_exchange(const char *dir, const char *a, const char *b);
void hostile_stop(pid_t pid);

/* A path below the rig's folder; BUF holds 192 bytes. */
const char *hostile_path(char *buf, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void hostile_put(const char *path, const char *text);

void assert_has(const char *text, const char *what);
void assert_not(const char *text, const char *what);

#endif
