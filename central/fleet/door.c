/* Checks the certificates of visitors against the roster. Thread: serving loops. */
#include "central/fleet/door.h"

#include <stdio.h>
#include <string.h>

#include "common/core/alloc.h"
#include "common/core/clock.h"
#include "common/core/printable.h"
#include "common/wire/node_headers.h"

#define VERSION_SHOWN_MAX 40

/* The other end of a connection. */
struct visitor {
    struct http_peer peer; /* first */
    struct member who;
    struct edge *edge; /* NULL: it is refused, and why says why */
    X509 *cert;
    char why[EDGE_REASON_MAX];
};

static void refuse(struct visitor *v, const char *why) {
    snprintf(v->why, sizeof(v->why), "%.199s", why);
}

static void look_up(struct door *d, struct visitor *v, long verified) {
    struct error err = {0};
    if (verified != X509_V_OK)
        refuse(v, "the certificate was not signed by this fleet's authority");
    else if (member_of(&v->who, v->cert, &err) < 0)
        refuse(v, err.msg);
    else if (strcmp(v->who.fleet, d->fleet) != 0)
        refuse(v, "the certificate is of another fleet");
    else if (v->who.role != MEMBER_EDGE)
        refuse(v, "the certificate is not an edge's");
    else if (!(v->edge = roster_find(d->roster, v->who.name)))
        v->edge = roster_meet(d->roster, &v->who);
    v->peer.name = v->edge ? v->who.name : "";
}

static struct http_peer *find(SSL *ssl, void *arg) {
    X509 *cert = SSL_get1_peer_certificate(ssl);
    if (!cert) return NULL;
    struct visitor *v = xcalloc(1, sizeof(*v));
    v->cert = cert;
    look_up(arg, v, SSL_get_verify_result(ssl));
    return &v->peer;
}

/* Cuts the connection of an edge that may no longer enter. A visitor that never might is refused at its next request. */
static bool may_stay(const struct http_peer *peer, void *arg) {
    const struct door *d = arg;
    const struct visitor *v = (const struct visitor *)(const void *)peer;
    return !v->edge || roster_may_stay(d->roster, v->edge, v->who.key);
}

/* The roster counts from 0. */
static uint64_t changes(void *arg) {
    return roster_changes(((const struct door *)arg)->roster) + 1;
}

static void leave(struct http_peer *peer, void *arg) {
    (void)arg;
    struct visitor *v = (struct visitor *)(void *)peer;
    X509_free(v->cert);
    free(v);
}

static bool asks_for(const struct http_req *req, const char *path) {
    const char *target = http_req_target(req);
    size_t len = strcspn(target, "?");
    return len == strlen(path) && memcmp(target, path, len) == 0;
}

static int check_time(const struct door *d, const struct http_req *req, const struct member *m, struct error *err) {
    char when[CLOCK_DATE_MAX];
    int64_t late = clock_wall_s() - m->not_after;
    if (late <= 0 || (asks_for(req, WIRE_RENEW_PATH) && late <= d->rejoin_window_s)) return 0;
    if (late <= d->rejoin_window_s)
        return error_set(err, ERR_DENIED, "the certificate of the edge %s has ended on %s: it must be renewed first",
                         m->name, clock_date(m->not_after, when));
    return error_set(
        err, ERR_DENIED,
        "its certificate has ended on %s, longer ago than fleet.rejoin_window allows: on central, edge invite "
        "--replace %s",
        clock_date(m->not_after, when), m->name);
}

static int admit(struct http_req *req, struct error *err, void *arg) {
    struct door *d = arg;
    const struct visitor *v = (const struct visitor *)(const void *)http_req_certified(req);
    struct ip address;
    char version[EDGE_VERSION_MAX];
    if (asks_for(req, WIRE_JOIN_PATH)) return 0;
    if (!v)
        return error_set(err, ERR_DENIED,
                         "this port answers edges of its fleet only, and no certificate was shown: "
                         "join first (entrepot-edge join TOKEN)");
    if (!v->edge) return error_set(err, ERR_DENIED, "%s", v->why);
    int r = check_time(d, req, &v->who, err);
    if (r < 0) { /* an edge whose state refuses it would not be helped by a renewal, and is told that */
        int state = roster_check_state(d->roster, v->edge, err);
        return state < 0 ? state : r;
    }
    const char *said = http_req_header(req, VERSION_HEADER);
    if (!said) said = "";
    size_t len = strnlen(said, VERSION_SHOWN_MAX);
    memcpy(version, said, len);
    version[len] = '\0';
    text_make_printable(version);
    const struct edge_sight s = {.generation = v->who.generation,
                                 .key = v->who.key,
                                 .instance = settings_header_parse(http_req_header(req, INSTANCE_HEADER)),
                                 .roots = settings_header_parse(http_req_header(req, ROOTS_HEADER)),
                                 .address = http_req_peer(req, &address) ? &address : NULL,
                                 .version = version};
    return roster_admit(d->roster, v->edge, &s, err);
}

void door_init(struct door *d, struct tls_server *tls) {
    d->gate = (struct gate){.tls = tls, .peers = {find, may_stay, changes, leave, d}, .admit = admit, .arg = d};
}

struct edge *door_edge(const struct http_req *req, struct member *who) {
    const struct visitor *v = (const struct visitor *)(const void *)http_req_certified(req);
    if (!v || !v->edge) return NULL;
    *who = v->who;
    return v->edge;
}

EVP_PKEY *door_key(const struct http_req *req) {
    return X509_get0_pubkey(((const struct visitor *)(const void *)http_req_certified(req))->cert);
}
