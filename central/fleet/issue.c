/* Bodies are read on the loop, certificates are signed and recorded in the work pool. Thread: as each function says. */
#include "central/fleet/issue.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "central/fleet/door.h"
#include "common/core/alloc.h"
#include "common/http/http_status.h"
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
    bool renews;
    struct wire_join_request join;
    struct wire_renew_request renew;
    struct edge *edge; /* who renews */
    struct member who;
    EVP_PKEY *key; /* his */
    struct error err;
    uint8_t *answer;
    size_t len;
};

static void order_free(struct order *o) {
    wire_join_request_fini(&o->join);
    EVP_PKEY_free(o->key);
    free(o->answer);
    free(o);
}

static void say(struct http_req *req, int status, const struct error *err) {
    char text[sizeof(err->msg) + sizeof(err->hint) + 4];
    int len = snprintf(text, sizeof(text), "%s\n%s%s", err->msg, err->hint, err->hint[0] ? "\n" : "");
    http_reply(req, status, "text/plain; charset=utf-8", text, (size_t)len);
}

static int status_of(int code) {
    return code == ERR_DENIED ? 403 : http_error_status(code);
}

/* --- work pool --- */

static void put_cert(struct wire_bytes *to, const X509 *cert) {
    cert_to_der(cert, &to->data, &to->len);
}

static void encode(struct order *o, const X509 *cert) {
    struct wire_join_response rs = {.n_chain = 2, .n_roots = CA_ROOTS};
    put_cert(&rs.chain[0], cert);
    put_cert(&rs.chain[1], ca_signer(o->issue->ca));
    for (unsigned i = 0; i < CA_ROOTS; i++)
        put_cert(&rs.roots[i], ca_root(o->issue->ca, i));
    int r = wire_join_response_encode(&rs, &o->answer, &o->len);
    if (r < 0) error_set(&o->err, r, "the answer is too large");
    wire_join_response_fini(&rs);
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

static void on_work(struct work *w) {
    struct order *o = container_of(w, struct order, work);
    X509 *cert = NULL;
    int r = o->renews ? roster_renew(o->issue->roster, o->edge, o->who.generation, o->renew.id, o->key, &cert, &o->err)
                      : run_join(o, &cert);
    if (r == 0) encode(o, cert);
    X509_free(cert);
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

static void on_body(struct http_req *req, const char *body, size_t len) {
    struct order *o = http_req_user(req);
    int r = o->renews ? wire_renew_request_decode(&o->renew, body, len) : wire_join_request_decode(&o->join, body, len);
    if (r < 0) {
        error_set(&o->err, r, "the body is not the message that this call takes");
        say(req, status_of(r), &o->err);
        return;
    }
    o->submitted = true;
    workpool_submit(o->issue->pool, &o->work);
}

static void begin(struct issue *i, struct http_req *req, bool renews) {
    struct order *o = xcalloc(1, sizeof(*o));
    *o = (struct order){.issue = i, .req = req, .loop = http_req_loop(req), .renews = renews};
    o->work.fn = on_work;
    o->back.fn = on_back;
    if (renews) {
        o->edge = door_edge(req, &o->who);
        o->key = o->edge ? door_key(req) : NULL;
        if (o->key) EVP_PKEY_up_ref(o->key);
    }
    http_req_set_user(req, o);
    http_req_on_close(req, on_close);
    if (renews && !o->edge) {
        error_set(&o->err, ERR_DENIED, "a renewal needs the certificate that it renews");
        say(req, 403, &o->err);
        return;
    }
    http_req_collect_body(req, WIRE_MAX_JOIN, on_body);
}

void issue_join(struct issue *i, struct http_req *req) {
    if (http_req_is_tls(req)) {
        begin(i, req, false);
        return;
    }
    struct error err = {0};
    error_set(&err, ERR_DENIED, "joining needs TLS: use https");
    say(req, 403, &err);
}

void issue_renew(struct issue *i, struct http_req *req) {
    begin(i, req, true);
}
