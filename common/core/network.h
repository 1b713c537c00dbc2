/* Addresses and networks as plain values. An IPv4 address is stored as its mapped IPv6 address (::ffff:a.b.c.d). Pure.
 * Thread: any. */
#ifndef ENTREPOT_CORE_NETWORK_H
#define ENTREPOT_CORE_NETWORK_H

#include "common/core/base.h"

struct ip {
    unsigned char bytes[16];
};
struct network {
    struct ip ip;
    unsigned bits; /* prefix length, 0 to 128 */
};

#define IP_TEXT_MAX 46
/* Parses "10.1.0.5" or "2001:db8::1", len bytes with nothing before or after. False: it is neither. */
bool ip_parse(struct ip *out, const char *text, size_t len);
bool ip_is_v4(const struct ip *ip);
/* 127.0.0.0/8 or ::1. */
bool ip_is_loopback(const struct ip *ip);
/* The address by which a client is counted: an IPv4 address itself, an IPv6 address's /64, because one host may own all
 * of that. */
struct ip ip_client_prefix(const struct ip *ip);
const char *ip_text(const struct ip *ip, char out[IP_TEXT_MAX]);
/* Parses "10.1.0.0/16" or "2001:db8::/32". Bits after the prefix are ignored. False: it is neither. */
bool network_parse(struct network *out, const char *text);
bool network_has(const struct network *n, const struct ip *ip);

#endif
