/* What went wrong with a call of the HTTP client: the error code, and the message for a person. Thread: the client's
 * loop. */
#include "common/http/client_private.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* "127.0.0.1:5001" of the URL, for messages. */
const char *call_place(const struct http_call *c, char out[280]) {
    struct http_url u;
    if (!http_url_parse(c->url, &u)) return "an unusable address";
    snprintf(out, 280, strchr(u.host, ':') ? "[%s]:%u" : "%s:%u", u.host, u.port);
    return out;
}

struct proxied_call call_proxied(const struct http_call *c, const char *place) {
    return (struct proxied_call){.proxy = c->proxy, .has_user = c->proxy_user, .place = place};
}

int call_code(CURLcode r) {
    switch (r) {
    case CURLE_OK:
        return 0;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_CONNECT:
    case CURLE_OPERATION_TIMEDOUT: /* libcurl's own limit is that of the connect; the others are ours */
    case CURLE_PROXY:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_PEER_FAILED_VERIFICATION:
        return ERR_UNREACHABLE;
    default:
        return ERR_UPSTREAM;
    }
}

bool call_refused(const struct http_call *c, CURLcode r) {
    long os_error = 0;
    curl_easy_getinfo(c->easy, CURLINFO_OS_ERRNO, &os_error);
    if (r == CURLE_COULDNT_CONNECT) return os_error == ECONNREFUSED;
    return !c->head_done && (r == CURLE_GOT_NOTHING || r == CURLE_SEND_ERROR || r == CURLE_RECV_ERROR);
}

#define TOO_LARGE 100 /* CURLE_TOO_LARGE, since libcurl 8.6 */

/* libcurl's words for what happened. */
static const char *text_of(const struct http_call *c, CURLcode r) {
    return c->error_text[0] ? c->error_text : curl_easy_strerror(r);
}

/* False: there is no proxy, or the proxy is not the cause. */
static bool describe_proxy(struct http_call *c, CURLcode r, const char *place, long os_error) {
    long status = 0;
    if (!c->proxy || r == CURLE_OK) return false;
    struct proxied_call by = call_proxied(c, place);
    curl_easy_getinfo(c->easy, CURLINFO_HTTP_CONNECTCODE, &status);
    if (status == 0 || status / 100 == 2)
        return proxy_failure_tell(&by, r, os_error, text_of(c, r), c->result.msg, sizeof(c->result.msg));
    c->result.code = ERR_UNREACHABLE;
    proxy_refusal_tell(&by, status, c->result.msg, sizeof(c->result.msg));
    return true;
}

/* True if the server answered, but not in TLS; only OpenSSL's text says so. */
static bool speaks_no_tls(const struct http_call *c, CURLcode r) {
    return r == CURLE_SSL_CONNECT_ERROR &&
           (strstr(c->error_text, "wrong version number") || strstr(c->error_text, "http request"));
}

/* The server took the connection and closed it without an answer. libcurl shows that only in its message. */
static bool handshake_hangs(const struct http_call *c, CURLcode r) {
    return r == CURLE_OPERATION_TIMEDOUT && strstr(c->error_text, "SSL connection timeout");
}

/* What happened, for a person. */
void call_describe(struct http_call *c, CURLcode r) {
    char place[280], *msg = c->result.msg;
    const size_t cap = sizeof(c->result.msg);
    long os_error = 0;
    curl_easy_getinfo(c->easy, CURLINFO_OS_ERRNO, &os_error);
    call_place(c, place);
    if (c->denied) {
        snprintf(msg, cap,
                 "%.100s is a loopback, private or otherwise special address, where the other side may not send us",
                 place);
    } else if (describe_proxy(c, r, place, os_error)) {
        return;
    } else if (r == CURLE_COULDNT_CONNECT && os_error) {
        snprintf(msg, cap, "connect to %.150s: %.90s", place, strerror((int)os_error));
    } else if (handshake_hangs(c, r)) {
        snprintf(msg, cap, "%.150s accepts the connection, but " HTTP_HANDSHAKE_HANGS ": timed out", place);
    } else if (r == CURLE_OPERATION_TIMEDOUT) {
        snprintf(msg, cap, "connect to %.150s: timed out", place);
    } else if ((r == CURLE_SSL_CONNECT_ERROR || r == CURLE_PEER_FAILED_VERIFICATION) && c->tls &&
               c->tls->why(c->tls->arg)[0]) {
        snprintf(msg, cap, "%.80s: %.170s", place, c->tls->why(c->tls->arg));
    } else if (speaks_no_tls(c, r)) {
        snprintf(msg, cap, "%.150s does not answer in TLS; if it serves plain HTTP, its URL begins with http://",
                 place);
    } else if (r == CURLE_GOT_NOTHING) {
        snprintf(msg, cap, "%.150s closed the connection without an answer", place);
    } else if ((r == CURLE_OUT_OF_MEMORY || (int)r == TOO_LARGE) && !c->head_done) {
        /* libcurl reports a line over its limit (100 KiB) as a lack of memory. A real one would have ended this
         * process. */
        snprintf(msg, cap, "%.150s sent a head with a line that is too long", place);
    } else if (r == CURLE_PARTIAL_FILE) {
        snprintf(msg, cap, "%.150s cut its answer short after %lld bytes", place, (long long)c->body_bytes);
    } else if (r != CURLE_OK) {
        snprintf(msg, cap, "%.120s: %.120s", place, text_of(c, r));
    }
}
