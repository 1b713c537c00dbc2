/* Messages to the service manager (sd_notify(3)) without its library: a datagram to $NOTIFY_SOCKET. Thread: any. */
#ifndef ENTREPOT_NODE_NOTIFY_H
#define ENTREPOT_NODE_NOTIFY_H

#include "common/core/base.h"

/* Sends lines such as "READY=1\nSTATUS=serving". False if nobody listens or it could not be sent. Never blocks. */
bool notify_send(const char *lines);
/* How often WATCHDOG=1 is due, in milliseconds (half of what the manager allows); 0: no watchdog for this process. */
int64_t notify_watchdog_ms(void);

#endif
