/* `client-config KIND --write DIR`: puts an engine's files under DIR. It reads and decides
 * everything, then shows the changes, then writes. Thread: main. */
#ifndef ENTREPOT_CLI_ENGINE_WRITE_H
#define ENTREPOT_CLI_ENGINE_WRITE_H

#include "common/admin/engine_files.h"
#include "common/cli/command.h"

/* Returns the exit status. If one file cannot be merged, none is written, and the lines to add by hand are printed. A
 * replaced file stays beside it as NAME.before-entrepot. dry: only shows what would change. */
int engine_write(const struct command_context *ctx, const struct client_files *files, const char *dir, bool dry);

#endif
