/* `dns explain`, of central alone. Thread: main. */
#ifndef ENTREPOT_CENTRAL_CMD_DNS_H
#define ENTREPOT_CENTRAL_CMD_DNS_H

#include "common/cli/command.h"

extern const struct command command_dns;

#endif
