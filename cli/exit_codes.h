// SPDX-License-Identifier: Apache-2.0
/* cli/exit_codes.h - what `orlop` exits with. `exec` exits with the code of the process that it
 * ran: 127 when there is no such program, 126 when it cannot be executed, 128+n when signal n ended
 * it. A verb that ^C ended exits with 130. */
#ifndef ORLOP_CLI_EXIT_CODES_H
#define ORLOP_CLI_EXIT_CODES_H

enum exit_code {
    EXIT_OK = 0,
    EXIT_FAILED = 1,        /* it was tried and did not work */
    EXIT_USAGE = 2,         /* the command line is wrong */
    EXIT_MANIFEST = 3,      /* the Compose file, or an image that it names, is wrong */
    EXIT_NOT_RUNNING = 4,   /* nobody listens at RUN/api.sock */
    EXIT_NOT_FOUND = 5,     /* no such app, service, task, node, image, volume */
    EXIT_DEPLOYMENT = 6,    /* written, but a service cannot become ready */
    EXIT_NOT_PERMITTED = 7, /* needs root */
    EXIT_INTERRUPTED = 130, /* ^C */
};

#endif
