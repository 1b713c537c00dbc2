/* What zone.c and zone_names.c share while a zone is built. Thread: the builder's. */
#ifndef ENTREPOT_DNS_ZONE_BUILD_H
#define ENTREPOT_DNS_ZONE_BUILD_H

#include "common/dns/zone.h"

/* The pointer to the question's name, with which each rendered record begins. */
enum { DNS_POINTER = 0xc00c, DNS_RECORD_HEAD = 12 };

/* Writes owner, type, class, ttl and rdata's length. Returns DNS_RECORD_HEAD. */
size_t dns_record_head(uint8_t *out, unsigned type, uint32_t ttl, size_t rdata_len);
void dns_address_render(struct dns_address *out, const struct ip *ip, uint32_t ttl);

/* Gives sites their edges: z->sites, names and z->central are there already. */
void dns_zone_edges(struct dns_zone *z, const struct dns_zone_parts *parts);
void dns_target_address(struct dns_target *t, const struct ip *ip, uint32_t ttl);
void dns_target_text(struct dns_target *t, const char *text, uint32_t ttl);
/* LABEL[.SITE].ZONE. False: it is no name, or too long. */
bool dns_zone_name(struct dns_name *out, const char *label, const char *site, const struct dns_name *zone);

/* Fills the table of names, and the SOA record. */
int dns_zone_names(struct dns_zone *z, const struct dns_config *c, struct error *err) must_check;
void dns_zone_names_free(struct dns_zone *z);

#endif
