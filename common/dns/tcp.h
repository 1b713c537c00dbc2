/* DNS by TCP (RFC 7766): any number of queries on a connection, answered in order. Thread: its loop, unless a function
 * says otherwise. */
#ifndef ENTREPOT_DNS_TCP_H
#define ENTREPOT_DNS_TCP_H

#include "common/dns/answer.h"
#include "common/dns/views.h"
#include "common/core/loop.h"

struct dns_tcp;
/* Control. fd listens, and becomes its own. seat: of views. At most `connections` are open. */
struct dns_tcp *dns_tcp_new(struct loop *loop, int fd, unsigned connections, unsigned seat, struct dns_views *views);
/* On the loop: begins to accept. */
void dns_tcp_start(struct dns_tcp *t);
/* Once the loop has ended, or on it. */
void dns_tcp_free(struct dns_tcp *t);
/* Any thread. */
const struct dns_tally *dns_tcp_tally(const struct dns_tcp *t);
unsigned dns_tcp_connections(const struct dns_tcp *t);

#endif
