/* Commands that copy what central cannot get from anywhere else. Thread: main. */
#ifndef ENTREPOT_CENTRAL_CMD_BACKUP_H
#define ENTREPOT_CENTRAL_CMD_BACKUP_H

#include "common/cli/command.h"

extern const struct command command_backup, command_restore;

#endif
