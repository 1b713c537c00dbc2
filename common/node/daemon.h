/* Signals, file descriptors and the service manager. Thread: main, which runs the control loop. */
#ifndef ENTREPOT_NODE_DAEMON_H
#define ENTREPOT_NODE_DAEMON_H

#include "common/core/error.h"
#include "common/core/loop.h"

struct daemon;

struct daemon_events {
    /* Control loop, once, on SIGTERM, SIGINT or SIGQUIT. A second signal ends the process at once, even if the loop is
     * busy. */
    void (*stop)(void *arg);
    /* Control loop, on SIGHUP (several close together may be one call). NULL: SIGHUP is ignored. The service manager is
     * told before and after. */
    void (*reload)(void *arg);
    /* Control loop, before each ping to the service manager's watchdog; false: no ping is sent. NULL: always alive. */
    bool (*alive)(void *arg);
};

/* Call first in serve, before threads: sets umask 077, ignores SIGPIPE, raises the descriptor limit to the hard limit.
 * Returns the number of descriptors. */
unsigned long daemon_prepare(void);
/* Handles the signals on control's loop. One at a time in a process. */
int daemon_new(struct daemon **out, struct loop *control, const struct daemon_events *events, void *arg,
               struct error *err) must_check;
/* Control loop. Call when the ports are open: tells the service manager, and starts its watchdog if it wants one.
 * status: one line for `systemctl status`; may be NULL. */
void daemon_ready(struct daemon *d, const char *status);
/* Restores the signals. The loop must have stopped. */
void daemon_free(struct daemon *d);

#endif
