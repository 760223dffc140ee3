// SPDX-License-Identifier: Apache-2.0
/* proto/constraint.h - "node.role == manager": which nodes a service may run on.
 *
 * Role     one reading of a constraint for the Compose file, the manifest's check and the planner.
 */
#ifndef ORLOP_PROTO_CONSTRAINT_H
#define ORLOP_PROTO_CONSTRAINT_H

#include <stdbool.h>

#include "runtime/base/err.h"

enum { CONSTRAINT_TEXT_MAX = 256 };

struct constraint {
    char key[CONSTRAINT_TEXT_MAX], value[CONSTRAINT_TEXT_MAX];
    bool differs; /* != */
};

/* -EINVAL with a sentence: not "KEY == VALUE" or "KEY != VALUE", or a key that no node has. */
must_use int constraint_parse(const char *text, struct constraint *ret, struct err *err);

/* What a constraint may ask of a node. */
struct constraint_node {
    const char *id, *hostname, *arch;
};
bool constraint_holds(const struct constraint *c, const struct constraint_node *n);

#endif
