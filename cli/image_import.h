// SPDX-License-Identifier: Apache-2.0
/* cli/image_import.h - one tar stream into the image store, no faster than that takes it. */
#ifndef ORLOP_CLI_IMAGE_IMPORT_H
#define ORLOP_CLI_IMAGE_IMPORT_H

#include "client.h"

/* SOURCE: tar file, directory, "-". NAME NULL: the archive's own. An exit code. */
must_use int image_import_run(struct client *c, const char *source, char *name, bool quiet);

#endif
