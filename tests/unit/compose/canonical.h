// SPDX-License-Identifier: Apache-2.0
/* tests/unit/compose/canonical.h - compare two canonical forms of a project.
 *
 * Role     null, "", [], {}, false and 0 are no difference to an absent key, but for the keys that
 *          the canonical form keeps; some lists are sets; numbers may differ by one part in a
 *          million.
 */
#ifndef ORLOP_TEST_COMPOSE_CANONICAL_H
#define ORLOP_TEST_COMPOSE_CANONICAL_H

#include <jansson.h>
#include <stdbool.h>

/* True: the same. Else *ret_where (free()) names the first place that differs. */
bool canonical_equal(const json_t *expected, const json_t *actual, char **ret_where);

#endif
