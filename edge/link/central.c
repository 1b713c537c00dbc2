/* Writes the errors for clients when central fails. Thread: the fetch loop. */
#include "edge/link/central.h"

#include "common/core/clock.h"
#include "common/wire/node_headers.h"

#include <stdio.h>

static int64_t seconds_since(const struct central_state *s) {
    int64_t age = clock_wall_s() - s->since_s;
    return age > 0 ? age : 0; /* the clock may have been set */
}

bool central_lacks_settings(const struct central *c, char *why, size_t cap) {
    struct central_state s;
    if (settings_known(c->settings)) return false;
    breaker_state(c->breaker, &s);
    int n =
        snprintf(why, cap, "central at %s has not yet told this edge which upstreams it has", uplink_url(c->uplink));
    if (!s.reachable && n > 0 && (size_t)n < cap)
        snprintf(why + n, cap - (size_t)n, ": it cannot be reached for %lld s (%s)", (long long)seconds_since(&s),
                 s.last_error);
    return true;
}

void central_end_unreachable(const struct central *c, struct fetch_end *e) {
    struct central_state s;
    char why[sizeof(e->msg)];
    breaker_state(c->breaker, &s);
    if (central_lacks_settings(c, why, sizeof(why))) /* the name may have been guessed wrong, and nothing can be held */
        fetch_end_set(e, ERR_BUSY, "%s", why);
    else
        fetch_end_set(e, ERR_UNREACHABLE,
                      "central at %s cannot be reached for %lld s (%s); what this edge holds is served",
                      uplink_url(c->uplink), (long long)seconds_since(&s), s.last_error);
    e->not_sent = true;
}

void central_end_outdated(const struct central *c, struct fetch_end *e, uint64_t settings) {
    fetch_end_set(e, ERR_OUTDATED, "central goes by other settings than this edge: what the name means is being asked");
    e->status = SETTINGS_REFUSED;
    e->not_sent = true; /* nothing is to be remembered of it */
    if (settings == settings_version(c->settings) && c->outdated) c->outdated(c->outdated_arg);
}

bool central_is_fleet_port(int status, const char *content_type, char why[CENTRAL_WHY_MAX]) {
    const char *wrong = breaker_not_central(status, content_type, why);
    if (!wrong && status != 200) snprintf(why, CENTRAL_WHY_MAX, "it answers %d", status);
    return !wrong && status == 200;
}

bool central_is_loopback(const char *url) {
    struct http_url u;
    return http_url_parse(url, &u) && http_host_class(u.host) == HTTP_ADDR_LOOPBACK;
}
