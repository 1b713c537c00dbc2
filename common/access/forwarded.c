/* Reads X-Forwarded-For and Forwarded. Thread: any. */
#include "common/access/forwarded.h"

#include <string.h>
#include <strings.h>

/* More proxies in a row are a mistake or an attack. */
#define HOPS_MAX 32

struct word {
    const char *at;
    size_t len;
};

static struct word trimmed(const char *at, size_t len) {
    while (len > 0 && (*at == ' ' || *at == '\t'))
        at++, len--;
    while (len > 0 && (at[len - 1] == ' ' || at[len - 1] == '\t'))
        len--;
    return (struct word){at, len};
}

/* Takes the last element off a list: what stands behind the last comma of *list. */
static struct word take_last(struct word *list) {
    const char *comma = list->len ? memrchr(list->at, ',', list->len) : NULL;
    size_t from = comma ? (size_t)(comma - list->at) + 1 : 0;
    struct word last = trimmed(list->at + from, list->len - from);
    list->len = comma ? from - 1 : 0;
    return last;
}

/* An address, maybe with a port: "10.1.0.5:80", "[2001:db8::1]:80". */
static bool node_parse(struct ip *out, struct word w) {
    const char *end;
    if (w.len > 0 && *w.at == '[') {
        end = memchr(w.at, ']', w.len);
        if (!end) return false;
        size_t rest = w.len - (size_t)(end - w.at) - 1;
        return (rest == 0 || end[1] == ':') && ip_parse(out, w.at + 1, (size_t)(end - w.at) - 1);
    }
    end = memchr(w.at, ':', w.len);
    if (end && end == memrchr(w.at, ':', w.len)) w.len = (size_t)(end - w.at);
    return ip_parse(out, w.at, w.len);
}

/* The value of for= in one element of Forwarded, its quotes taken off; empty if there is none. */
static struct word for_of(struct word element) {
    while (element.len > 0) {
        const char *semicolon = memchr(element.at, ';', element.len);
        size_t len = semicolon ? (size_t)(semicolon - element.at) : element.len;
        struct word pair = trimmed(element.at, len);
        if (pair.len > 4 && strncasecmp(pair.at, "for=", 4) == 0) {
            struct word value = {pair.at + 4, pair.len - 4};
            if (value.len >= 2 && value.at[0] == '"' && value.at[value.len - 1] == '"')
                value = (struct word){value.at + 1, value.len - 2};
            return value;
        }
        size_t gone = semicolon ? len + 1 : len;
        element = (struct word){element.at + gone, element.len - gone};
    }
    return (struct word){"", 0};
}

bool proxies_have(const struct proxies *p, const struct ip *ip) {
    for (size_t i = 0; i < p->n; i++)
        if (network_has(&p->networks[i], ip)) return true;
    return false;
}

struct ip forwarded_client(const struct proxies *p, const struct ip *peer, const char *x_forwarded_for,
                           const char *forwarded) {
    struct ip client = *peer;
    const char *text = forwarded ? forwarded : x_forwarded_for;
    if (!text || (forwarded && x_forwarded_for)) return client;
    struct word list = {text, strlen(text)};
    for (unsigned i = 0; i < HOPS_MAX && list.len > 0 && proxies_have(p, &client); i++) {
        struct ip ip;
        struct word last = take_last(&list);
        if (!node_parse(&ip, forwarded ? for_of(last) : last)) break;
        client = ip;
    }
    return client;
}
