/* Addresses are tried one after another, until one is that of the central that made the token. What that one answers is
 * the last word. Thread: main of a command. */
#include "edge/link/join.h"

#include "edge/link/central.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/core/alloc.h"
#include "common/core/clock.h"
#include "common/core/printable.h"
#include "common/http/client.h"
#include "common/identity/trust.h"
#include "common/wire/wire.h"

#define CONNECT_MS 10000
#define TOTAL_MS 30000

/* One address being asked. */
struct attempt {
    struct loop *loop;
    struct trust trust;
    struct http_tls tls;
    struct buf answer;
    int status; /* 0: central has not answered */
    int code;
    char msg[256];
    char content_type[64];
    bool has_skew;
    int64_t skew_s;
};

static bool on_head(struct http_call *call, const struct http_answer *a, void *arg) {
    (void)call;
    struct attempt *t = arg;
    struct tm tm = {0};
    const char *date = a->header(a, "date"), *type = a->header(a, "content-type");
    snprintf(t->content_type, sizeof(t->content_type), "%s", type ? type : "");
    t->has_skew = date && strptime(date, "%a, %d %b %Y %H:%M:%S GMT", &tm);
    if (t->has_skew) t->skew_s = clock_wall_s() - (int64_t)timegm(&tm);
    return true;
}

static bool on_data(struct http_call *call, const void *data, size_t len, void *arg) {
    (void)call;
    struct attempt *t = arg;
    if (buf_add(&t->answer, data, len) < 0) buf_clear(&t->answer); /* longer than max_body: done says so */
    return true;
}

static void on_done(struct http_call *call, const struct http_result *r, void *arg) {
    (void)call;
    struct attempt *t = arg;
    t->status = r->status;
    t->code = r->code;
    snprintf(t->msg, sizeof(t->msg), "%s", r->msg);
    loop_stop(t->loop);
}

static const struct http_call_events events = {.head = on_head, .data = on_data, .done = on_done};

static void prepare(SSL_CTX *ctx, void *arg) {
    trust_apply(arg, ctx);
}

static const char *why(void *arg) {
    return ((const struct trust *)arg)->why;
}

static void ask(struct attempt *t, const struct join_order *o, const char *base, const void *body, size_t len) {
    static const char *const headers[] = {"Content-Type: " WIRE_CONTENT_TYPE, NULL};
    char url[JOIN_URL_MAX + 32];
    t->loop = loop_new("join");
    t->trust = (struct trust){.hashes = o->token->roots, .n_hashes = o->token->n_roots};
    t->tls = (struct http_tls){.prepare = prepare, .why = why, .arg = &t->trust};
    buf_init(&t->answer, WIRE_MAX_JOIN);
    snprintf(url, sizeof(url), "%s" WIRE_JOIN_PATH, base);
    struct http_client *client = http_client_new(t->loop);
    const struct http_call_spec spec = {.method = "POST",
                                        .url = url,
                                        .headers = headers,
                                        .body = body,
                                        .body_len = len,
                                        .tls = &t->tls,
                                        .proxy = central_is_loopback(base) ? NULL : o->proxy,
                                        .use_proxy_env = !central_is_loopback(base),
                                        .connect_ms = CONNECT_MS,
                                        .head_ms = TOTAL_MS,
                                        .total_ms = TOTAL_MS,
                                        .max_body = (int64_t)WIRE_MAX_JOIN};
    http_call_start(client, &spec, &events, t);
    loop_run(t->loop);
    http_client_free(client);
    loop_free(t->loop);
}

/* What central said instead of a certificate: a line that says what is wrong, then one that says what to try. */
static int read_refusal(struct attempt *t, struct error *err) {
    char *text = buf_steal(&t->answer, NULL);
    size_t line = text ? strcspn(text, "\n") : 0;
    if (!text || line == 0 || strncmp(t->content_type, "text/plain", strlen("text/plain")) != 0) {
        free(text);
        return error_set(err, ERR_UPSTREAM, "central answers %d, without a reason", t->status);
    }
    char *hint = text + line + (text[line] == '\n');
    text[line] = '\0';
    hint[strcspn(hint, "\n")] = '\0';
    error_set(err, t->status == 403 ? ERR_DENIED : ERR_INVALID, "%s", text_make_printable(text));
    if (hint[0]) error_hint(err, "%.200s", text_make_printable(hint));
    free(text);
    return err->code;
}

static int read_answer(struct attempt *t, EVP_PKEY *key, struct join_result *out, struct error *err) {
    struct wire_join_response rs;
    int r = wire_join_response_decode(&rs, t->answer.data, t->answer.len);
    if (r < 0)
        error_set(err, r, "central's answer is not a certificate");
    else
        r = identity_of_answer(&out->id, key, &rs, err);
    wire_join_response_fini(&rs);
    return r;
}

/* 1: this was not the central that made the token; err says what it was. */
static int try_address(const struct join_order *o, EVP_PKEY *key, const void *body, size_t len, struct join_result *out,
                       struct error *err) {
    struct attempt t = {0};
    ask(&t, o, out->url, body, len);
    int r = 0;
    if (t.status == 0) {
        error_set(err, t.code, "%s", t.msg);
        r = 1;
    } else if (t.code < 0) {
        r = error_set(err, t.code, "%s", t.msg);
    } else {
        r = t.status == 200 ? read_answer(&t, key, out, err) : read_refusal(&t, err);
    }
    out->has_skew = t.has_skew;
    out->skew_s = t.skew_s;
    buf_fini(&t.answer);
    return r;
}

/* The configured address first, as that of a tunnel would be. False: there are no more. */
static bool address_at(const struct join_order *o, size_t i, char out[JOIN_URL_MAX]) {
    struct http_url u;
    if (o->central && http_url_parse(o->central, &u)) {
        if (i == 0) {
            snprintf(out, JOIN_URL_MAX, strchr(u.host, ':') ? "https://[%s]:%u" : "https://%s:%u", u.host, u.port);
            return true;
        }
        i--;
    }
    if (i >= o->token->n_addresses) return false;
    snprintf(out, JOIN_URL_MAX, "https://%s", o->token->addresses[i]);
    return true;
}

static int try_all(const struct join_order *o, EVP_PKEY *key, const void *body, size_t len, struct join_result *out,
                   struct error *err) {
    struct error last = {0};
    char said[sizeof(last.msg)] = "";
    for (size_t i = 0; address_at(o, i, out->url); i++) {
        int r = try_address(o, key, body, len, out, &last);
        if (r <= 0) {
            if (r < 0) *err = last;
            return r;
        }
        if (i == 0 && o->central && o->central_is_default) continue;
        size_t n = strlen(said);
        snprintf(said + n, sizeof(said) - n, "%s%.200s", n ? "; " : "", last.msg);
    }
    error_set(err, last.code, "%.500s", said);
    if (strstr(said, HTTP_HANDSHAKE_HANGS))
        error_hint(err,
                   "another program listens there; or large packets vanish on the way, because a tunnel has a smaller "
                   "MTU and ICMP is dropped: try `ip route add CENTRAL via GATEWAY mtu 1280` here");
    else
        error_hint(err,
                   "the fleet port must be reachable from here: on central, the keys fleet.listen and fleet.addresses; "
                   "here, a firewall or the tunnel that the key central names");
    return last.code;
}

int join_run(const struct join_order *o, struct join_result *out, struct error *err) {
    struct wire_join_request rq = {.secret_len = TOKEN_SECRET_BYTES};
    EVP_PKEY *key;
    uint8_t *body = NULL;
    size_t len = 0;
    *out = (struct join_result){0};
    int r = identity_joining_key(&key, o->data, err);
    if (r < 0) return r;
    memcpy(rq.secret, o->token->secret, TOKEN_SECRET_BYTES);
    snprintf(rq.site, sizeof(rq.site), "%s", o->site ? o->site : "");
    csr_make(key, &rq.csr.data, &rq.csr.len);
    r = wire_join_request_encode(&rq, &body, &len);
    if (r == 0)
        r = try_all(o, key, body, len, out, err);
    else
        error_set(err, r, "the request to join is too large");
    if (body) explicit_bzero(body, len);
    free(body);
    wire_join_request_fini(&rq);
    EVP_PKEY_free(key);
    return r;
}
