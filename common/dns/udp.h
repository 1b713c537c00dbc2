/* One thread that answers by UDP: many messages for each call of the kernel. Thread: control, and its own. */
#ifndef ENTREPOT_DNS_UDP_H
#define ENTREPOT_DNS_UDP_H

#include "common/dns/answer.h"
#include "common/dns/socket.h"
#include "common/dns/views.h"

struct dns_udp;
/* fd becomes its own. wildcard: as of its struct dns_listen. */
struct dns_udp *dns_udp_new(int fd, bool wildcard, unsigned number, unsigned rate_per_s, struct dns_views *views);
void dns_udp_start(struct dns_udp *u);
/* Asks a thread that was started to end; dns_udp_free waits for it. */
void dns_udp_stop(struct dns_udp *u);
void dns_udp_free(struct dns_udp *u);
const struct dns_tally *dns_udp_tally(const struct dns_udp *u);

#endif
