/* Addresses and networks as plain values: an IPv4 address is its mapped IPv6 one (::ffff:a.b.c.d). Pure. Thread: any.
 */
#ifndef ENTREPOT_CORE_NETWORK_H
#define ENTREPOT_CORE_NETWORK_H

#include "common/core/base.h"

struct ip {
    unsigned char bytes[16];
};
struct network {
    struct ip ip;
    unsigned bits; /* of ip that count, 0 to 128 */
};

#define IP_TEXT_MAX 46
/* "10.1.0.5" or "2001:db8::1", len bytes, nothing before or after it. */
bool ip_parse(struct ip *out, const char *text, size_t len);
bool ip_is_v4(const struct ip *ip);
/* What stands for one who asks: an IPv4 address itself, of an IPv6 address its /64, which one host may have whole. */
struct ip ip_of_one(const struct ip *ip);
const char *ip_text(const struct ip *ip, char out[IP_TEXT_MAX]);
/* "10.1.0.0/16" or "2001:db8::/32". Bits behind the length mean nothing. */
bool network_parse(struct network *out, const char *text);
bool network_has(const struct network *n, const struct ip *ip);

#endif
