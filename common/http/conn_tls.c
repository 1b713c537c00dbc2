/* A connection's first bytes at a port that speaks TLS: the handshake, or a refusal that a client with the wrong scheme
 * can read. Thread: the connection's serving loop. */
#include "common/http/server_private.h"

#include <errno.h>
#include <openssl/err.h>
#include <string.h>
#include <sys/socket.h>

static bool start_tls(struct http_conn *c) {
    SSL_CTX *ctx = tls_server_ctx(c->share->server->cfg.tls);
    c->ssl = SSL_new(ctx);
    SSL_CTX_free(ctx);
    if (!c->ssl || SSL_set_fd(c->ssl, c->fd) != 1) return false;
    SSL_set_accept_state(c->ssl);
    return true;
}

/* True if the first bytes look like a request in plain HTTP. */
static bool begins_like_http(const char *text, size_t len) {
    static const char *const methods[] = {"GET ",    "HEAD ",    "POST ",    "PUT ",  "PATCH ",
                                          "DELETE ", "OPTIONS ", "CONNECT ", "TRACE "};
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
        size_t n = strlen(methods[i]);
        if (memcmp(text, methods[i], len < n ? len : n) == 0) return true;
    }
    return false;
}

/* Looks at the first bytes before TLS is set up. False: nothing has come, or the connection is refused. */
static bool first_bytes_fit(struct http_conn *c) {
    char first[8];
    ssize_t n = recv(c->fd, first, sizeof(first), MSG_PEEK);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return false;
    if (n <= 0) {
        conn_abort(c);
        return false;
    }
    bool either = c->share->server->cfg.tls_mode == HTTP_TLS_EITHER;
    c->sniffing = false;
    if (either && first[0] != TLS_HANDSHAKE) {
        conn_set_state(c, CONN_IDLE);
    } else if (begins_like_http(first, (size_t)n)) {
        /* A client that used the wrong scheme gets a message that it can show, not just a closed connection. */
        atomic_fetch_add_explicit(&c->share->server->bad_requests, 1, memory_order_relaxed);
        reply_error(c, 400, "", "this port speaks HTTPS: use https://");
        return false;
    }
    return true;
}

bool conn_tls_ready(struct http_conn *c) {
    if (c->sniffing && !first_bytes_fit(c)) return false;
    if (c->state == CONN_IDLE) return true;
    if (!c->ssl && !start_tls(c)) {
        conn_abort(c);
        return false;
    }
    ERR_clear_error();
    int r = SSL_accept(c->ssl);
    if (r == 1) {
        const struct http_peers *peers = c->share->server->cfg.peers;
        if (peers) c->peer = peers->find(c->ssl, peers->arg);
        tls_forget_issuers(c->ssl);
        conn_arm_out(c, false);
        conn_set_state(c, CONN_IDLE);
        if (share_conn_certified(c)) return true;
        reply_error(c, 503, "", TOO_MANY_CONNECTIONS);
        return false;
    }
    int e = SSL_get_error(c->ssl, r);
    if (e == SSL_ERROR_WANT_WRITE)
        conn_arm_out(c, true);
    else if (e != SSL_ERROR_WANT_READ)
        conn_abort(c);
    return false;
}
