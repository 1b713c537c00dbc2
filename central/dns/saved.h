/* Which edges were named in answers, kept on disk so that the first answer after a start is right. Thread: any that may
 * block. */
#ifndef ENTREPOT_CENTRAL_DNS_SAVED_H
#define ENTREPOT_CENTRAL_DNS_SAVED_H

#include "common/dns/joined.h"
#include "common/core/buf.h"

/* Appends the named edges, a line for each. Any thread. */
void dns_saved_write(const struct dns_zone *zone, const struct dns_health *health, struct buf *out);
/* Adds the edges that had joined, with their addresses, if may says so, before a zone is made. */
void dns_saved_joined(const char *path, struct dns_joined_list *into,
                      bool (*may)(const char *site, const char *edge, void *arg), void *arg);
/* Restores into health what the file at path says, if there is one that can be read. */
void dns_saved_read(const char *path, const struct dns_zone *zone, struct dns_health *health, int64_t now_ms);

#endif
