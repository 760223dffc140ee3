// SPDX-License-Identifier: Apache-2.0
/* agent/spec.h - what a task runs: the service of the app merged with the image's config, by
 * Docker's rules.
 *
 * Role     pure: TaskSpec + image config -> argv, env, user, working directory, stop signal, health
 *          check.
 * Thread   [any]
 * Owns     nothing: everything is made in the caller's arena.
 * See      tests/unit/agent/test_spec.c
 */
#ifndef ORLOP_AGENT_SPEC_H
#define ORLOP_AGENT_SPEC_H

#include <stdbool.h>

#include "agent.pb-c.h"
#include "proto/arena.h"
#include "runtime/image/image.h"

struct spec_health {
    bool enabled;
    char **test; /* argv of the probe */
    size_t n_test;
    uint64_t interval_ms, timeout_ms, start_period_ms, start_interval_ms;
    uint32_t retries;
};

struct spec_merged {
    char **argv;
    size_t n_argv;
    char **env; /* "K=V"; the image's, then the service's over it */
    size_t n_env;
    const char *user, *cwd;
    int stop_signal;
    struct spec_health health;
};

/* -EINVAL: nothing to run, or an unknown stop signal; the sentence says so. -ENOMEM: the arena is
 * full. */
must_use int spec_merge(struct arena *a, const Orlop__TaskSpec *task,
                        const struct image_config *image, struct spec_merged *ret, struct err *err);

/* <app>-<service>-<slot>, the name that people see. */
enum { SPEC_NAME_MAX = 160 };
const char *spec_task_name(const Orlop__TaskSpec *task, char buf[static SPEC_NAME_MAX]);
/* The host name: that of the service, else the name above, cut to what the kernel takes; with
 * `uts: host` the node's. */
enum { SPEC_HOSTNAME_MAX = 65 };
const char *spec_hostname(const Orlop__TaskSpec *task, char buf[static SPEC_HOSTNAME_MAX]);

#endif
