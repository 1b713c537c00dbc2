/* The view from which the DNS answers at present. Readers take no lock: a reader writes down which view it uses, and a
 * view that is written down is not freed. Thread: reading any, each with a seat of its own; publishing one. */
#ifndef ENTREPOT_DNS_VIEWS_H
#define ENTREPOT_DNS_VIEWS_H

#include <stdatomic.h>

#include "common/dns/view.h"

struct dns_views;
struct dns_views *dns_views_new(unsigned seats);
/* No reader may be left. Frees all views and zones. */
void dns_views_free(struct dns_views *vs);
/* Publisher: replaces the view. v, and its zone with the last view of it, become vs's. NULL: none from now on. */
void dns_views_publish(struct dns_views *vs, struct dns_view *v);
/* Publisher: the zone of the view that was published last, or NULL. */
const struct dns_zone *dns_views_zone(const struct dns_views *vs);
/* Publisher: frees what no reader uses any more. */
void dns_views_tidy(struct dns_views *vs);
/* The view, which stays valid until dns_views_leave with the same seat; NULL: there is none (yet). */
const struct dns_view *dns_views_enter(struct dns_views *vs, unsigned seat);
void dns_views_leave(struct dns_views *vs, unsigned seat);

#endif
