// SPDX-License-Identifier: Apache-2.0
/* proto/value.h - is one text of a manifest what its field wants?
 *
 * Role     the same answer and sentence for the Compose file, which knows the line, and for the
 *          manifest's check, which knows the service. The planner and the agent trust it.
 * Thread   [any]. Pure.
 * Errors   -EINVAL and a sentence that quotes the text.
 */
#ifndef ORLOP_PROTO_VALUE_H
#define ORLOP_PROTO_VALUE_H

#include "runtime/base/err.h"

/* Addresses of tasks: 10.80.0.0/12. */
#define VALUE_POOL UINT32_C(0x0a500000)
#define VALUE_POOL_PREFIX 12

must_use int value_image(const char *s, struct err *err);
must_use int value_user(const char *s, struct err *err);
must_use int value_signal(const char *s, struct err *err);
must_use int value_capability(const char *s, struct err *err);
must_use int value_ulimit(const char *s, struct err *err);
must_use int value_variable(const char *s, struct err *err); /* of the environment: its name */

must_use int value_service(const char *s, struct err *err);
must_use int value_container(const char *s, struct err *err); /* container_name */
must_use int value_hostname(const char *s, struct err *err);  /* one label of DNS, or several */
must_use int value_alias(const char *s, struct err *err);     /* a name of somebody in a network */
must_use int value_resource(const char *s, struct err *err);  /* name of a network, a volume, ... */

must_use int value_path(const char *s, struct err *err);   /* absolute: working_dir, a source */
must_use int value_target(const char *s, struct err *err); /* absolute, without "..", not "/" */
must_use int value_address(const char *s, struct err *err);
must_use int value_ipv4(const char *s, struct err *err);
must_use int value_subnet(const char *s, struct err *err);
must_use int value_host_address(const char *s, struct err *err); /* or "host-gateway" */

must_use int value_seccomp_action(const char *s, struct err *err);
must_use int value_seccomp_operator(const char *s, struct err *err);

#endif
