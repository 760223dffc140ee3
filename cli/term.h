// SPDX-License-Identifier: Apache-2.0
/* cli/term.h - the terminal in raw mode, and back on every way out of the process. One at a time.
 */
#ifndef ORLOP_CLI_TERM_H
#define ORLOP_CLI_TERM_H

#include <stdint.h>

#include "runtime/base/err.h"

must_use int term_raw(int fd); /* negative errno: FD is as it was */
void term_restore(void);       /* harmless when it is not raw */
void term_size(int fd, uint32_t *ret_rows, uint32_t *ret_cols); /* 0, 0 when unknown */

#endif
