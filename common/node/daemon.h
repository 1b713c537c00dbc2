/* What a daemon owes the system: signals, descriptors, the service manager. Thread: main, which runs the control loop.
 */
#ifndef ENTREPOT_NODE_DAEMON_H
#define ENTREPOT_NODE_DAEMON_H

#include "common/core/error.h"
#include "common/core/loop.h"

struct daemon;

struct daemon_events {
    /* Control loop, once: SIGTERM or SIGINT came. A second one ends the process at once, however busy the loop is. */
    void (*stop)(void *arg);
    /* Control loop, for each SIGHUP (several close together may be one). NULL: SIGHUP is ignored. The service manager
     * is told before and after. */
    void (*reload)(void *arg);
    /* Control loop, before each sign of life to the service manager's watchdog; false withholds it. NULL: always alive.
     */
    bool (*alive)(void *arg);
};

/* First thing in serve, before threads: umask 077, SIGPIPE ignored, as many descriptors as the hard limit allows.
 * Returns the number of descriptors there may be. */
unsigned long daemon_prepare(void);
/* Takes over the signals for control; one at a time in a process. Threads started afterwards inherit nothing that
 * matters. */
int daemon_new(struct daemon **out, struct loop *control, const struct daemon_events *events, void *arg,
               struct error *err) must_check;
/* Control loop. The ports are open: tells the service manager, and starts its watchdog if it wants one. status: one
 * line for `systemctl status`, may be NULL. */
void daemon_ready(struct daemon *d, const char *status);
/* Control loop: the end has begun (also told on the first SIGTERM without being asked). */
void daemon_stopping(struct daemon *d);
/* Gives the signals back. The loop has stopped. */
void daemon_free(struct daemon *d);

#endif
