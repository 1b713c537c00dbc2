/* The port is asked, the zone is looked up by this machine's own resolver, and the edges' states are told. Thread:
 * main. */
#include "common/cli/doctor_dns.h"

#include "common/core/host_port.h"
#include "common/core/json.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

enum { WITHIN_S = 2 };

/* A query for the SOA of the root, which no zone of ours is: it is answered REFUSED, so it costs nothing. */
static const unsigned char query[] = {0x45, 0x4e, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 6, 0, 1};

/* Whether the port answers by this type of socket. */
static bool answers(const struct addrinfo *a, int type) {
    unsigned char framed[2 + sizeof(query)] = {0, sizeof(query)}, in[600];
    struct timeval within = {.tv_sec = WITHIN_S};
    bool stream = type == SOCK_STREAM;
    _cleanup_(closep) int fd = socket(a->ai_family, type | SOCK_CLOEXEC, 0);
    memcpy(framed + 2, query, sizeof(query));
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &within, sizeof(within)) < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &within, sizeof(within)) < 0 ||
        connect(fd, a->ai_addr, a->ai_addrlen) < 0)
        return false;
    const unsigned char *out = stream ? framed : query;
    ssize_t len = stream ? (ssize_t)sizeof(framed) : (ssize_t)sizeof(query);
    return send(fd, out, (size_t)len, MSG_NOSIGNAL) == len && recv(fd, in, sizeof(in), 0) > 0;
}

/* NULL, or which transport does not answer. */
static const char *silent_transport(const char *listen, int port) {
    struct host_port hp;
    struct addrinfo hints = {.ai_socktype = SOCK_DGRAM, .ai_flags = AI_NUMERICSERV}, *a = NULL;
    char service[12];
    snprintf(service, sizeof(service), "%d", port);
    bool any =
        !host_port_parse(&hp, listen) || !*hp.host || strcmp(hp.host, "0.0.0.0") == 0 || strcmp(hp.host, "::") == 0;
    if (getaddrinfo(any ? "127.0.0.1" : hp.host, service, &hints, &a) != 0) return "UDP";
    const char *silent = !answers(a, SOCK_DGRAM) ? "UDP" : !answers(a, SOCK_STREAM) ? "TCP" : NULL;
    freeaddrinfo(a);
    return silent;
}

static bool resolves(const char *name) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *a = NULL;
    if (getaddrinfo(name, NULL, &hints, &a) != 0) return false;
    freeaddrinfo(a);
    return true;
}

static void list_edges(const json_t *edges, char *out, size_t cap) {
    const json_t *e;
    size_t i, at = 0;
    json_array_foreach(edges, i, e) {
        if (i == 4 || at >= cap) break;
        int n = snprintf(out + at, cap - at, "%s%s.%s (%s)", i ? ", " : "", json_text(e, "name", "?"),
                         json_text(e, "site", "?"), json_text(e, "state", "?"));
        at += n > 0 ? (size_t)n : 0;
    }
}

static void say(struct doctor_check *c, enum doctor_verdict v, const char *todo) {
    c->verdict = v;
    snprintf(c->todo, sizeof(c->todo), "%s", todo);
}

void doctor_dns(const json_t *dns, enum node_kind kind, struct doctor_check *c) {
    const char *name = json_text(dns, "name", "?"), *zone = json_text(dns, "zone", "?"),
               *listen = json_text(dns, "listen", "");
    const json_t *edges = json_object_get(dns, "edges_not_named");
    char text[400] = "";
    const char *problem = json_text(json_object_get(dns, "source"), "problem", "");
    const char *silent = silent_transport(listen, (int)json_int(dns, "port", 0));
    if (silent) {
        snprintf(c->message, sizeof(c->message), "no answer by %s on %s", silent, listen);
        say(c, DOCTOR_FAIL, "let both UDP and TCP to that port through");
        return;
    }
    if (*problem) {
        snprintf(c->message, sizeof(c->message), "queries are answered SERVFAIL: %.200s", problem);
        say(c, DOCTOR_WARN, "see that this edge has joined and reaches central, and that central has dns.zone");
        return;
    }
    if (json_array_size(edges) > 0) {
        list_edges(edges, text, sizeof(text));
        snprintf(c->message, sizeof(c->message), "%zu edges are not named in answers: %s", json_array_size(edges),
                 text);
        say(c, DOCTOR_WARN,
            "see that each edge runs, and that its registry listens on registry.port (the edge's "
            "registry.listen); `status` shows where its clients are sent, `status --json` why an edge is left out");
        return;
    }
    snprintf(text, sizeof(text), "central.%.250s", zone);
    if (kind == NODE_CENTRAL && !resolves(text)) {
        snprintf(c->message, sizeof(c->message), "the port answers, but this machine's resolver does not find %s",
                 text);
        say(c, DOCTOR_WARN,
            "delegate the zone in its parent (NS), or have the resolver forward it: "
            "`entrepot-central client-config dns KIND` prints the lines");
        return;
    }
    snprintf(c->message, sizeof(c->message), "%s is answered%s, and every edge is named", name,
             kind == NODE_CENTRAL ? ", the zone is found" : "");
    say(c, DOCTOR_OK, "");
}

void doctor_address(const json_t *zone, struct doctor_check *c) {
    const char *site = json_text(zone, "site", "?");
    const char *own = json_string_value(json_array_get(json_object_get(zone, "own"), 0)),
               *outside = json_string_value(json_array_get(json_object_get(zone, "outside"), 0));
    say(c, DOCTOR_OK, "");
    if (!json_is_true(json_object_get(zone, "known"))) {
        snprintf(c->message, sizeof(c->message),
                 "central's sites do not list %s, so the zone leads no client to this edge", site);
    } else if (!own) {
        snprintf(c->message, sizeof(c->message), "the zone leads no client to this edge");
        say(c, DOCTOR_WARN,
            "`entrepot-central status --json` says why; behind a tunnel that ends on this machine set the key address "
            "to the one that clients use");
    } else if (outside && !json_is_true(json_object_get(zone, "address_is_set"))) {
        snprintf(c->message, sizeof(c->message),
                 "clients are told %s for this edge, which is in none of the networks of %s", outside, site);
        say(c, DOCTOR_WARN,
            "a tunnel's or a container's address is of no use to clients: set the key address to the one that they can "
            "reach; if it is right, add its network to the site's (central's key sites)");
    } else {
        snprintf(c->message, sizeof(c->message), "clients of %s are told %s for this edge", site, own);
    }
}
