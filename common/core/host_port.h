/* HOST:PORT as configurations, listeners and people write it. Pure. Thread: any. */
#ifndef ENTREPOT_CORE_HOST_PORT_H
#define ENTREPOT_CORE_HOST_PORT_H

#include "common/core/base.h"

#define HOST_PORT_HOST_MAX 253

struct host_port {
    char host[HOST_PORT_HOST_MAX + 1]; /* without brackets; "": none, as in ":5000" */
    int port;                          /* 0 to 65535; -1: none given */
    bool bracketed;                    /* it was written [HOST], as an IPv6 address is */
};
/* Parses HOST, HOST:PORT, [HOST], [HOST]:PORT or :PORT. It does not check whether the host is a valid name or address.
 * False: s has none of these forms, and *out must not be used. */
bool host_port_parse(struct host_port *out, const char *s);

/* What to try when a port cannot be listened on for want of a right. */
#define PORT_BELOW_1024_HINT \
    "ports below 1024 need root or CAP_NET_BIND_SERVICE; comments of the systemd unit say how to give it that"

#endif
