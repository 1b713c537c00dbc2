/* DNS cookies (RFC 7873) in the form that servers of several makers share (RFC 9018). A client that returns a cookie it
 * was given has shown that its address is its own. Thread: any (immutable once loaded). */
#ifndef ENTREPOT_DNS_COOKIE_H
#define ENTREPOT_DNS_COOKIE_H

#include "common/core/error.h"
#include "common/core/network.h"

enum { DNS_COOKIE_CLIENT = 8, DNS_COOKIE_SERVER = 16, DNS_COOKIE_WHOLE = 24 };

struct dns_cookies {
    uint64_t keys[2][2]; /* the first signs, both are accepted */
    size_t n;
};
/* Reads the secrets from a file of one or two lines of 32 hexadecimal digits; path NULL: makes a random one. */
int dns_cookies_load(struct dns_cookies *c, const char *path, struct error *err) must_check;
/* Whether a whole cookie was given to this address within the last hour. */
bool dns_cookie_good(const struct dns_cookies *c, const uint8_t *cookie, size_t len, const struct ip *ip,
                     uint32_t now_s);
/* Writes client (8 bytes) and a new server cookie to out. */
void dns_cookie_make(const struct dns_cookies *c, const uint8_t *client, const struct ip *ip, uint32_t now_s,
                     uint8_t out[DNS_COOKIE_WHOLE]);

#endif
