/* `client-config KIND --write DIR`: puts an engine's files under DIR. All is read and decided before anything is
 * written, and what each change is, is shown first. Thread: main. */
#ifndef ENTREPOT_CLI_ENGINE_WRITE_H
#define ENTREPOT_CLI_ENGINE_WRITE_H

#include "common/admin/engine_files.h"
#include "common/cli/command.h"

/* The exit status. Where one file cannot be merged, none is written, and what to add by hand is said. A file that is
 * replaced stays beside it as NAME.before-entrepot. dry: only shows what would change. */
int engine_write(const struct command_context *ctx, const struct client_files *files, const char *dir, bool dry);

#endif
