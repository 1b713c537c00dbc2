/* Each resolver is asked for who it is to the zone's server (common/dns/answer.h, DNS_WHOAMI), for the registry's
 * addresses of both families, and twice for an address that is new in each answer: the second time once the first answer
 * has expired. Thread: main. */
#include "common/cli/doctor_resolver.h"

#include "common/cli/stub.h"
#include "common/core/alloc.h"
#include "common/core/buf.h"
#include "common/core/clock.h"
#include "common/core/file.h"
#include "common/core/host_port.h"
#include "common/core/json.h"
#include "common/dns/answer.h"
#include "common/dns/zone.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

/* As many as the C library asks. */
enum { RESOLVERS_MAX = 3, FILE_MAX = 65536, SECONDS_OF_GRACE = 1, MARGIN_MS = 200 };

struct resolver {
    struct ip ip;
    unsigned port;
};

/* Whom one names, the worse the higher. */
enum whom { THIS_SITE, CENTRAL, OTHER_SITE, NOBODY };

/* What was found of one. */
struct found {
    const struct resolver *who;
    char name[300]; /* below _whoami.ZONE */
    struct stub_answer who_asks, first, again;
    struct stub_answer registry[DNS_FAMILIES]; /* IPv4, IPv6 */
    enum whom whom[DNS_FAMILIES];
};

static size_t take_given(struct resolver *out, const char *given) {
    struct host_port hp;
    if (!host_port_parse(&hp, given) || !ip_parse(&out->ip, hp.host, strlen(hp.host))) return 0;
    out->port = hp.port > 0 ? (unsigned)hp.port : 53;
    return 1;
}

/* The lines "nameserver ADDRESS". */
static size_t take_configured(struct resolver out[RESOLVERS_MAX]) {
    _cleanup_(freep) char *text = NULL;
    size_t len, n = 0;
    struct error ignored = {0};
    if (file_read_all("/etc/resolv.conf", FILE_MAX, &text, &len, &ignored) < 0) return 0;
    for (char *line, *rest = text; (line = strsep(&rest, "\n")) && n < RESOLVERS_MAX;) {
        const char *word = strsep(&line, " \t"), *address = line ? line + strspn(line, " \t") : NULL;
        if (strcmp(word, "nameserver") != 0 || !address) continue;
        if (ip_parse(&out[n].ip, address, strcspn(address, " \t\r%"))) out[n++].port = 53;
    }
    return n;
}

static bool names_one_of(const struct stub_answer *a, const json_t *addresses) {
    const json_t *one;
    size_t i;
    json_array_foreach(addresses, i, one) {
        const char *text = json_string_value(one);
        struct ip ip;
        if (!text || !ip_parse(&ip, text, strlen(text))) continue;
        for (size_t j = 0; j < a->n_addresses; j++)
            if (memcmp(&ip, &a->addresses[j], sizeof(ip)) == 0) return true;
    }
    return false;
}

static enum whom whom_of(const struct stub_answer *a, const json_t *zone) {
    if (a->n_addresses == 0) return NOBODY;
    if (names_one_of(a, json_object_get(zone, "addresses"))) return THIS_SITE;
    return names_one_of(a, json_object_get(zone, "central")) ? CENTRAL : OTHER_SITE;
}

/* A client may take either family. One without addresses counts only if there are none of the other. */
static enum whom worst_of(const struct found *f) {
    enum whom worst = NOBODY;
    for (size_t i = 0; i < DNS_FAMILIES; i++)
        if (f->whom[i] != NOBODY && (worst == NOBODY || f->whom[i] > worst)) worst = f->whom[i];
    return worst;
}

static void ask_first(struct found *f, const json_t *zone) {
    uint64_t number = 0;
    if (getrandom(&number, sizeof(number), 0) != sizeof(number)) number = (uint64_t)clock_mono_us();
    snprintf(f->name, sizeof(f->name), "%016llx." DNS_WHOAMI ".%.250s", (unsigned long long)number,
             json_text(zone, "zone", ""));
    stub_ask(&f->who_asks, &f->who->ip, f->who->port, f->name, DNS_TXT);
    if (f->who_asks.rcode != 0) return;
    stub_ask(&f->first, &f->who->ip, f->who->port, f->name, DNS_A);
    for (size_t i = 0; i < DNS_FAMILIES; i++) {
        stub_ask(&f->registry[i], &f->who->ip, f->who->port, json_text(zone, "name", ""), i == 0 ? DNS_A : DNS_AAAA);
        f->whom[i] = whom_of(&f->registry[i], zone);
    }
}

/* Some count in whole seconds. */
static void wait_until_expired(void) {
    struct timespec left = {DNS_WHOAMI_TTL_S + SECONDS_OF_GRACE, MARGIN_MS * 1000000L};
    while (nanosleep(&left, &left) < 0)
        ;
}

/* --- what is said --- */

/* The value of a word of whoami's text, such as "resolver"; "": it has none. */
static const char *value_of(const char *text, const char *key, char out[80]) {
    char start[40];
    snprintf(start, sizeof(start), " %s=", key);
    const char *at = strstr(text, start);
    out[0] = '\0';
    if (at) snprintf(out, 80, "%.*s", (int)strcspn(at + strlen(start), " "), at + strlen(start));
    return out;
}

static const char *rcode_text(int rcode) {
    switch (rcode) {
    case -1:
        return "does not answer";
    case DNS_SERVFAIL:
        return "says SERVFAIL, so it does not reach the zone's servers, or holds their answers for false";
    case DNS_NXDOMAIN:
        return "says that there is no such name";
    case DNS_REFUSED:
        return "refuses";
    default:
        return "does not find it";
    }
}

static bool is_stale(const struct found *f) {
    return f->first.n_addresses > 0 && f->again.n_addresses > 0 &&
           memcmp(&f->first.addresses[0], &f->again.addresses[0], sizeof(struct ip)) == 0;
}

/* "names an edge of this site (10.1.0.5, 2001:db8:1::5)", or each family by itself where they differ. */
static void say_answer(const struct found *f, struct buf *out) {
    static const char *const what[] = {
        [THIS_SITE] = "an edge of this site", [CENTRAL] = "central", [OTHER_SITE] = "an edge of another site"};
    char ip[IP_TEXT_MAX];
    const char *before = "names ";
    int r = worst_of(f) == NOBODY ? buf_printf(out, "names no address") : 0;
    for (size_t i = 0; i < DNS_FAMILIES && r == 0; i++) {
        if (f->whom[i] == NOBODY) continue;
        bool same = i > 0 && f->whom[i] == f->whom[0];
        const char *address = ip_text(&f->registry[i].addresses[0], ip);
        r = same ? buf_printf(out, ", %s", address) : buf_printf(out, "%s%s (%s", before, what[f->whom[i]], address);
        bool last = i + 1 == DNS_FAMILIES || f->whom[i + 1] != f->whom[i];
        if (r == 0 && last) r = buf_printf(out, ")");
        before = " and ";
    }
    if (r < 0) out_of_memory();
}

static void say_one(const struct found *f, const json_t *zone, struct buf *out) {
    char ip[IP_TEXT_MAX], seen[80], subnet[80];
    int r = buf_printf(out, "%s%s ", out->len ? "; " : "", ip_text(&f->who->ip, ip));
    if (r == 0 && f->who_asks.rcode != 0) {
        r = buf_printf(out, "%s: %s", rcode_text(f->who_asks.rcode), json_text(zone, "name", "?"));
    } else if (r == 0) {
        say_answer(f, out);
        value_of(f->who_asks.text, "subnet", subnet);
        r = buf_printf(out, "; the zone's server sees it as %s, %s%s", value_of(f->who_asks.text, "resolver", seen),
                       *subnet ? "with the client subnet " : "without client subnet", subnet);
        if (r == 0 && is_stale(f)) r = buf_printf(out, "; it serves answers that have expired");
    }
    if (r < 0) out_of_memory();
}

/* What is worst of one; NULL: nothing. *verdict is what it is worth. */
static const char *what_to_do(const struct found *f, enum doctor_verdict *verdict) {
    *verdict = DOCTOR_WARN;
    if (f->who_asks.rcode != 0)
        return "`entrepot-central client-config dns KIND` prints what a resolver needs to find the zone; or delegate "
               "the zone in its "
               "parent (NS)";
    if (worst_of(f) != THIS_SITE)
        return "clients of this branch that ask it are sent elsewhere: put its address into the networks of the site "
               "(central's key sites), or have it tell the client subnet; `entrepot-central dns explain` says more";
    if (is_stale(f))
        return "clients are sent to edges that are gone: switch that off for the zone (unbound: serve-expired: no; "
               "bind: stale-answer-enable no; dnsmasq: no use-stale-cache; a least TTL counts, too)";
    *verdict = DOCTOR_OK;
    return NULL;
}

static void say_all(const struct found *list, size_t n, const json_t *zone, struct doctor_check *c) {
    struct buf text;
    buf_init(&text, 0);
    c->verdict = DOCTOR_OK;
    for (size_t i = 0; i < n; i++) {
        enum doctor_verdict v;
        const char *todo = what_to_do(&list[i], &v);
        say_one(&list[i], zone, &text);
        if (v != DOCTOR_OK && c->verdict == DOCTOR_OK) {
            c->verdict = v;
            snprintf(c->todo, sizeof(c->todo), "%s", todo);
        }
    }
    snprintf(c->message, sizeof(c->message), "%.*s", (int)text.len, (const char *)text.data);
    buf_fini(&text);
}

void doctor_resolver(const json_t *zone, const char *given, struct doctor_check *c) {
    struct resolver list[RESOLVERS_MAX];
    struct found found[RESOLVERS_MAX] = {0};
    size_t n = given ? take_given(list, given) : take_configured(list);
    if (n == 0) {
        c->verdict = given ? DOCTOR_FAIL : DOCTOR_SKIP;
        if (given)
            snprintf(c->message, sizeof(c->message), "\"%.100s\" is no address of a resolver", given);
        else
            snprintf(c->message, sizeof(c->message), "not checked, because /etc/resolv.conf names no resolver");
        return;
    }
    for (size_t i = 0; i < n; i++) {
        found[i].who = &list[i];
        ask_first(&found[i], zone);
    }
    wait_until_expired();
    for (size_t i = 0; i < n; i++)
        if (found[i].who_asks.rcode == 0) stub_ask(&found[i].again, &list[i].ip, list[i].port, found[i].name, DNS_A);
    say_all(found, n, zone, c);
}
