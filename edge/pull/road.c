/* Thread: work pool. */
#include "edge/pull/road.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#define LOOK_MS 3000
#define STATUS_SIGN_IN 511 /* Network Authentication Required (RFC 6585 section 6) */

/* The host as it stands in the URL, brackets of an IPv6 address included. */
static int host_len(const char *authority) {
    const char *end = authority[0] == '[' ? strchr(authority, ']') : NULL;
    return end ? (int)(end + 1 - authority) : (int)strcspn(authority, ":/");
}

/* It sends us to another host. Web servers send to https at the same host. */
static bool leads_away(const struct probe *p, const struct http_url *central) {
    struct http_url to;
    return p->location[0] && http_url_parse(p->location, &to) && strcasecmp(to.host, central->host) != 0;
}

static void tell(const struct probe *p, char *message, size_t cap) {
    if (p->location[0])
        snprintf(message, cap,
                 "%.90s answers in central's place, in plain HTTP, and redirects to %.100s: a captive portal wants a "
                 "sign-in",
                 p->url, p->location);
    else
        snprintf(message, cap,
                 "%.90s answers %d in plain HTTP in central's place: a captive portal, or another program", p->url,
                 p->status);
}

/* A port that speaks TLS answers plain HTTP with 400, central's among them; at a loopback address central refuses itself. */
static bool is_central(const struct probe *p) {
    return p->status == 400 || p->refused[0];
}

bool road_has_portal(struct probes *probes, const char *url, char *message, size_t cap) {
    struct http_url central;
    const char *variable;
    if (!http_url_parse(url, &central) || strcmp(central.scheme, "https") != 0) return false;
    if (http_proxy_for(&central, &variable)) return false; /* the road begins at the proxy */
    const char *authority = strstr(url, "://") + 3;
    int len = host_len(authority);
    char port[300], web[300];
    snprintf(port, sizeof(port), "http://%.*s:%u", len, authority, central.port);
    snprintf(web, sizeof(web), "http://%.*s", len, authority);
    struct probe list[] = {{.url = port, .path = "/"}, {.url = web, .path = "/"}};
    probes_ask(probes, list, ARRAY_LEN(list), LOOK_MS);
    const struct probe *found = NULL;
    if (list[0].status > 0 && !is_central(&list[0]))
        found = &list[0];
    else if (list[1].status == STATUS_SIGN_IN || leads_away(&list[1], &central))
        found = &list[1];
    if (found) tell(found, message, cap);
    return found != NULL;
}
