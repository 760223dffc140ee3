// SPDX-License-Identifier: Apache-2.0
/* agent/mounts.h - the mounts of an attempt: volumes, binds, tmpfs, and the files that we make for
 * it.
 *
 * Role     within prepare_task.c: adds SandboxMounts and their descriptors to a struct prepared.
 *          What the service mounts at a place wins over what we would put there.
 * Thread   [pool]
 */
#ifndef ORLOP_AGENT_MOUNTS_H
#define ORLOP_AGENT_MOUNTS_H

#include "agent/prepare_task.h"

struct mounts {
    const struct prepare_input *in;
    struct prepared *out;
    const struct image_config *image;
    const char *private_dir; /* of this attempt, made */
    unsigned next_file;
};

must_use int mounts_add_service(struct mounts *m,
                                struct err *err); /* volumes, binds, tmpfs; image VOLUMEs */
must_use int mounts_add_files(struct mounts *m, struct err *err); /* secrets, configs, /etc files */
/* Parents before what lies in them. */
void mounts_sort(struct prepared *out);

#endif
