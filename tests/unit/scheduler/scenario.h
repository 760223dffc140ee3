// SPDX-License-Identifier: Apache-2.0
/* tests/unit/scheduler/scenario.h - golden traces: a scenario file is the specification.
 *
 * Lines that start with "$ " are commands, the lines below each are what it causes, one change a
 * line.
 *
 *   service|network|volume ...      parts of the next manifest (manifest_text.h)
 *   apply APP [force=SVC] [only=SVC]
 *   scale APP SVC=N...    restart APP [SVC...]    remove APP [volumes]
 *   node NAME [memory=MIB]    down NODE    up NODE    wipe NODE (an agent with a new store)
 *   sync NODE TASK-NAME...          a full report with these tasks only
 *   plan                            one plan of every app, applied
 *   settle                          plans until there is nothing to do
 *   say TASK-NAME STATE [healthy|unhealthy|starting] [exit=N] [attempt=N] [gone]
 *   time +MS    acks on|off    why TASK-NAME    ps [APP]
 */
#ifndef ORLOP_TEST_SCENARIO_H
#define ORLOP_TEST_SCENARIO_H

#include "runtime/base/buf.h"
#include "scheduler/state/state.h"

/* Run INPUT's commands; the whole trace, commands included, goes to OUT. */
void scenario_run(const char *input, struct buf *out);

#endif
