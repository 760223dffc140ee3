// SPDX-License-Identifier: Apache-2.0
/* tests/unit/cli/fake.h - a scheduler that answers as it is told, on a thread and bus of its own.
 */
#ifndef TEST_CLI_FAKE_H
#define TEST_CLI_FAKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fake; /* one at a time; RUN is its directory */

struct fake *fake_start(const char *run);
void fake_stop(struct fake *f);
enum { FAKE_LONGEST = 40 * 65536 };
/* What the fake saw. */
unsigned fake_polls(struct fake *f);
unsigned fake_recreated(struct fake *f); /* services that `up` asked to replace, unchanged */
unsigned fake_stalls(struct fake *f);    /* how often the logs of app "big" had to wait */
unsigned fake_rows(struct fake *f);      /* of the window that exec told last */
enum { FAKE_BIG_LINES = 200000, FAKE_BIG_LINE = 100, FAKE_END_ROWS = 50, FAKE_END_CODE = 9 };
uint64_t fake_imported(struct fake *f);     /* bytes of the last import */
uint64_t fake_imported_sum(struct fake *f); /* of these bytes */

#endif
