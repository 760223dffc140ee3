// SPDX-License-Identifier: Apache-2.0
/* proto/check_service.h - the part of check_app that looks at one service. */
#ifndef ORLOP_PROTO_CHECK_SERVICE_H
#define ORLOP_PROTO_CHECK_SERVICE_H

#include "manifest.pb-c.h"
#include "runtime/base/err.h"
#include "runtime/base/map.h"

/* What a service may refer to, by name. */
struct check_refs {
    const Orlop__App *app;
    struct map services, networks, volumes, secrets, configs;
};

must_use int check__refs_init(struct check_refs *r,
                              struct err *err); /* app is set; names are unique */
void check__refs_fini(struct check_refs *r);
/* The sentence lacks the service's name. */
must_use int check__service(const struct check_refs *r, const Orlop__Service *s, struct err *err);

must_use int check__seccomp(const Orlop__SeccompProfile *p, struct err *err); /* NULL: good */

#endif
