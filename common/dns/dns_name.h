/* Domain names in wire form (RFC 1035 section 3.1): labels, each behind its length, ended by the root's zero. Stored in
 * lower case, since names are compared without regard to case (RFC 4343). Pure. Thread: any. */
#ifndef ENTREPOT_DNS_DNS_NAME_H
#define ENTREPOT_DNS_DNS_NAME_H

#include "common/core/base.h"

#define DNS_NAME_MAX 255
#define DNS_LABEL_MAX 63
#define DNS_NAME_TEXT_MAX 256

struct dns_name {
    uint8_t len; /* the root's zero counted */
    uint8_t wire[DNS_NAME_MAX];
};

/* Parses "img.acme.example", with or without the last dot; "" and "." are the root. Labels are 1 to 63 letters, digits,
 * '-' or '_'. False: it is no such name, or too long. */
bool dns_name_parse(struct dns_name *out, const char *text);
/* As dns_name_parse for a name that is relative to zone unless it ends with a dot; "@" is zone itself. */
bool dns_name_parse_in(struct dns_name *out, const char *text, const struct dns_name *zone);
/* The length of name's part before zone: 0 for zone itself. -1: name is not in zone. */
int dns_name_below(const struct dns_name *name, const struct dns_name *zone);
/* "img.acme.example"; "." for the root. */
const char *dns_name_text(const struct dns_name *name, char out[DNS_NAME_TEXT_MAX]);
/* A hash that is the same in every process. */
uint64_t dns_name_hash(const uint8_t *wire, size_t len);
/* Spreads every bit of x over all bits of the result. */
static inline uint64_t dns_mix(uint64_t x) {
    x ^= x >> 30;
    x *= 0xbf58476d1ce4e5b9ULL;
    x ^= x >> 27;
    x *= 0x94d049bb133111ebULL;
    return x ^ (x >> 31);
}

#endif
