/* Reads bodies on the loop; signs certificates, checks removals and records both in the work pool. Thread: as each
 * section says. */
#include "central/fleet/issue.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "central/fleet/door.h"
#include "common/access/caller.h"
#include "common/core/alloc.h"
#include "common/core/log.h"
#include "common/core/printable.h"
#include "common/http/http_status.h"
#include "common/identity/attest.h"
#include "common/identity/cert.h"
#include "common/wire/wire.h"

/* A request under way; it outlives its connection. */
struct order {
    struct issue *issue;
    struct http_req *req; /* NULL once closed */
    struct loop *loop;
    struct work work;
    struct loop_task back;
    bool submitted, done;
    enum call { CALL_JOIN, CALL_RENEW, CALL_CERTIFICATE, CALL_REMOVALS } call;
    struct wire_join_request join;
    struct wire_renew_request renew;
    struct wire_certificate_request certificate;
    struct ip from;
    struct wire_fleet_state removals;
    struct edge *edge; /* who renews */
    struct member who;
    EVP_PKEY *key; /* of the certificate that the edge shows; NULL unless it renews */
    struct error err;
    uint8_t *answer;
    size_t len;
};

static void order_free(struct order *o) {
    wire_join_request_fini(&o->join);
    wire_certificate_request_fini(&o->certificate);
    wire_fleet_state_fini(&o->removals);
    EVP_PKEY_free(o->key);
    free(o->answer);
    free(o);
}

static void say(struct http_req *req, int status, const struct error *err) {
    char text[sizeof(err->msg) + sizeof(err->hint) + 4];
    snprintf(text, sizeof(text), err->hint[0] ? "%s\n%s" : "%s", err->msg, err->hint);
    http_reply_text(req, status, text);
}

static int status_of(int code) {
    return code == ERR_DENIED ? 403 : http_error_status(code);
}

/* --- work pool --- */

static void put_cert(struct wire_bytes *to, const X509 *cert) {
    cert_to_der(cert, &to->data, &to->len);
}

static void encode(struct order *o, const X509 *cert) {
    struct wire_join_response rs = {.n_chain = 2};
    STACK_OF(X509) *roots = ca_trusted(o->issue->ca);
    X509 *signer = ca_signer_of(o->issue->ca, (X509 *)(uintptr_t)cert);
    put_cert(&rs.chain[0], cert);
    put_cert(&rs.chain[1], signer ? signer : ca_signer(o->issue->ca));
    for (int i = 0; i < sk_X509_num(roots); i++)
        put_cert(&rs.roots[rs.n_roots++], sk_X509_value(roots, i));
    sk_X509_free(roots);
    int r = wire_join_response_encode(&rs, &o->answer, &o->len);
    if (r < 0) error_set(&o->err, r, "the answer is too large");
    wire_join_response_fini(&rs);
}

/* Tells the names that were refused here, too: they may be those of an edge that was broken into. Mostly it is just the
 * name of an edge's machine, which it asks for in case it is one of registry.names. */
static void say_refused(const struct order *o, const struct wire_names *refused) {
    char all[512] = "";
    for (size_t i = 0; i < refused->n; i++) {
        size_t len = strlen(all);
        snprintf(all + len, sizeof(all) - len, "%s%.100s", i ? " " : "", refused->list[i]);
    }
    if (all[0])
        log_info("certificate_names_refused", KV_S("edge", o->who.name), KV_S("names", text_make_printable(all)),
                 KV_S("hint", "add those that clients use to registry.names here; addresses: to the site's networks"));
}

static void sign_names(struct order *o, EVP_PKEY *key, const struct cert_names_grant *g) {
    struct wire_certificate_response rs = {.n_chain = 1, .refused = g->refused};
    const char *names[CERT_NAMES_MAX];
    for (size_t i = 0; i < g->n; i++)
        names[i] = g->names[i];
    X509 *cert = ca_issue_server(o->issue->ca, &(struct ca_server){.common_name = o->who.name,
                                                                   .names = names,
                                                                   .n_names = g->n,
                                                                   .key = key,
                                                                   .lifetime_s = o->issue->lifetime_s});
    STACK_OF(X509) *more = ca_server_chain(o->issue->ca, cert);
    put_cert(&rs.chain[0], cert);
    for (int i = 0; i < sk_X509_num(more); i++)
        put_cert(&rs.chain[rs.n_chain++], sk_X509_value(more, i));
    sk_X509_free(more);
    X509_free(cert);
    int r = wire_certificate_response_encode(&rs, &o->answer, &o->len);
    if (r < 0) error_set(&o->err, r, "the answer is too large");
    wire_certificate_response_fini(&rs);
}

/* Nothing of it is kept: whoever loses the answer asks again. */
static void run_server_certificate(struct order *o) {
    EVP_PKEY *key = NULL;
    struct cert_names_grant *g = xcalloc(1, sizeof(*g));
    const struct cert_names_ask ask = {
        .site = o->who.site, .edge = o->who.name, .from = &o->from, .names = &o->certificate.names};
    cert_names_decide(o->issue->names, &ask, g);
    say_refused(o, &g->refused);
    int r = csr_key(&key, o->certificate.csr.data, o->certificate.csr.len, &o->err);
    if (r == 0 && g->n == 0) {
        error_set(&o->err, ERR_DENIED, "none of the names that the edge asks for is its own");
        error_hint(&o->err, "on central, registry.names, or the networks of its site in sites");
    } else if (r == 0) {
        sign_names(o, key, g);
    }
    EVP_PKEY_free(key);
    free(g);
}

static int run_join(struct order *o, X509 **cert) {
    EVP_PKEY *key = NULL;
    struct edge_facts made;
    int r = csr_key(&key, o->join.csr.data, o->join.csr.len, &o->err);
    if (r < 0) return r;
    const struct join_ask ask = {
        .secret = o->join.secret, .secret_len = o->join.secret_len, .key = key, .site = o->join.site};
    r = roster_join(o->issue->roster, &ask, cert, &made, &o->err);
    EVP_PKEY_free(key);
    return r;
}

/* The certificate that a removal names, of those that came with it. NULL: it is not there. The caller frees it. */
static X509 *signer_of(const struct wire_fleet_state *m, const struct wire_removal *removal) {
    for (size_t i = 0; i < m->n_signers; i++) {
        struct error ignored = {0};
        uint8_t hash[WIRE_HASH_BYTES];
        X509 *cert;
        if (cert_from_der(&cert, m->signers[i].data, m->signers[i].len, &ignored) < 0) continue;
        cert_hash(cert, hash);
        if (memcmp(hash, removal->signer, sizeof(hash)) == 0) return cert;
        X509_free(cert);
    }
    return NULL;
}

static int take_removal(struct order *o, STACK_OF(X509) * roots, const struct wire_removal *m) {
    X509 *signer = signer_of(&o->removals, m);
    if (!signer) return error_set(&o->err, ERR_INVALID, "the certificate of a removal's signer is missing");
    int r = attest_check(roots, ca_fleet(o->issue->ca), signer, m->body.data, m->body.len, m->signature.data,
                         m->signature.len, &o->err);
    if (r == 0) r = roster_take_removal(o->issue->roster, m, signer, &o->err);
    X509_free(signer);
    return r;
}

/* Records the removals in their order, up to the first that is wrong. */
static void run_removals(struct order *o) {
    STACK_OF(X509) *roots = ca_trusted(o->issue->ca);
    int r = 0, taken = 0;
    for (size_t i = 0; i < o->removals.n_removals && r >= 0; i++) {
        r = take_removal(o, roots, &o->removals.removals[i]);
        if (r > 0) taken++;
    }
    sk_X509_free(roots);
    if (taken > 0) o->issue->removed(o->issue->arg);
}

static void run_certificate(struct order *o) {
    X509 *cert = NULL;
    int r = o->call == CALL_RENEW
                ? roster_renew(o->issue->roster, o->edge, o->who.generation, o->renew.id, o->key, &cert, &o->err)
                : run_join(o, &cert);
    if (r == 0) encode(o, cert);
    X509_free(cert);
}

static void on_work(struct work *w) {
    struct order *o = container_of(w, struct order, work);
    if (o->call == CALL_REMOVALS)
        run_removals(o);
    else if (o->call == CALL_CERTIFICATE)
        run_server_certificate(o);
    else
        run_certificate(o);
    loop_post(o->loop, &o->back);
}

/* --- serving loop --- */

static void on_back(struct loop_task *task) {
    struct order *o = container_of(task, struct order, back);
    struct http_req *req = o->req;
    o->done = true;
    if (!req) {
        order_free(o);
        return;
    }
    if (o->err.code < 0)
        say(req, status_of(o->err.code), &o->err);
    else
        http_reply(req, 200, WIRE_CONTENT_TYPE, o->answer, o->len);
}

static void on_close(struct http_req *req, bool cut) {
    (void)cut;
    struct order *o = http_req_user(req);
    o->req = NULL;
    if (!o->submitted || o->done) order_free(o);
}

static int decode(struct order *o, const char *body, size_t len) {
    switch (o->call) {
    case CALL_JOIN:
        return wire_join_request_decode(&o->join, body, len);
    case CALL_RENEW:
        return wire_renew_request_decode(&o->renew, body, len);
    case CALL_CERTIFICATE:
        return wire_certificate_request_decode(&o->certificate, body, len);
    case CALL_REMOVALS:
        break;
    }
    return wire_fleet_state_decode(&o->removals, body, len);
}

static void on_body(struct http_req *req, const char *body, size_t len) {
    struct order *o = http_req_user(req);
    int r = decode(o, body, len);
    if (r < 0) {
        error_set(&o->err, r, "the body is not the message that this call takes");
        say(req, status_of(r), &o->err);
        return;
    }
    o->submitted = true;
    workpool_submit(o->issue->pool, &o->work);
}

static void begin(struct issue *i, struct http_req *req, enum call call) {
    struct order *o = xcalloc(1, sizeof(*o));
    *o = (struct order){.issue = i, .req = req, .loop = http_req_loop(req), .call = call};
    struct caller caller;
    caller_of_peer(&caller, CALLER_NODE, req);
    if (!http_req_peer(req, &o->from)) o->from = (struct ip){0};
    o->work.fn = on_work;
    o->work.whose = caller_number(&caller); /* jobs take turns by caller */
    o->back.fn = on_back;
    if (call != CALL_JOIN) {
        o->edge = door_edge(req, &o->who);
        o->key = o->edge ? door_key(req) : NULL;
        if (o->key) EVP_PKEY_up_ref(o->key);
    }
    http_req_set_user(req, o);
    http_req_on_close(req, on_close);
    if (call != CALL_JOIN && !o->edge) {
        error_set(&o->err, ERR_DENIED, "this call needs the certificate of an edge");
        say(req, 403, &o->err);
        return;
    }
    http_req_collect_body(req, call == CALL_REMOVALS ? WIRE_MAX_STATE : WIRE_MAX_JOIN, on_body);
}

void issue_join(struct issue *i, struct http_req *req) {
    if (http_req_is_tls(req)) {
        begin(i, req, CALL_JOIN);
        return;
    }
    struct error err = {0};
    error_set(&err, ERR_DENIED, "joining needs TLS: use https");
    say(req, 403, &err);
}

void issue_renew(struct issue *i, struct http_req *req) {
    begin(i, req, CALL_RENEW);
}

void issue_certificate(struct issue *i, struct http_req *req) {
    begin(i, req, CALL_CERTIFICATE);
}

void issue_removals(struct issue *i, struct http_req *req) {
    begin(i, req, CALL_REMOVALS);
}
