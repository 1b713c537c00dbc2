/* Starts a call of the HTTP client: checks the request and turns it into libcurl's options. Thread: the client's
 * loop. */
#include "common/http/client_private.h"

#include "common/core/alloc.h"
#include "common/core/clock.h"
#include "common/core/file.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

/* One read of the socket: the caller hashes what it gets while it is still in the second-level cache. */
#define BUFFER_BYTES (256L * 1024)

static void set(CURLcode r) {
    if (r == CURLE_OUT_OF_MEMORY) out_of_memory();
    assert(r == CURLE_OK); /* else libcurl is older than what we build against */
}

static void add_line(struct http_call *c, const char *line) {
    c->headers = curl_slist_append(c->headers, line);
    if (!c->headers) out_of_memory();
}

static void set_method(struct http_call *c, const struct http_call_spec *spec) {
    if (strcmp(spec->method, "HEAD") == 0) {
        c->is_head = true;
        set(curl_easy_setopt(c->easy, CURLOPT_NOBODY, 1L));
    } else if (strcmp(spec->method, "POST") == 0) {
        c->body = xmalloc(spec->body_len + 1);
        if (spec->body_len) memcpy(c->body, spec->body, spec->body_len);
        set(curl_easy_setopt(c->easy, CURLOPT_POST, 1L));
        set(curl_easy_setopt(c->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)spec->body_len));
        set(curl_easy_setopt(c->easy, CURLOPT_POSTFIELDS, c->body));
        add_line(c, "Expect:");
    } else {
        set(curl_easy_setopt(c->easy, CURLOPT_HTTPGET, 1L));
    }
}

static CURLcode on_context(CURL *easy, void *ctx, void *arg) {
    (void)easy;
    const struct http_tls *tls = arg;
    tls->prepare(ctx, tls->arg);
    return CURLE_OK;
}

static void set_blob(CURL *easy, CURLoption option, const char *pem) {
    struct curl_blob blob = {.data = (void *)(uintptr_t)pem, .len = strlen(pem), .flags = CURL_BLOB_COPY};
    set(curl_easy_setopt(easy, option, &blob));
}

/* libcurl's own verification is off, for it knows host names only; prepare sets ours. */
static void set_own_tls(struct http_call *c, const struct http_tls *tls) {
    CURL *e = c->easy;
    c->tls = tls;
    set(curl_easy_setopt(e, CURLOPT_SSL_VERIFYPEER, 0L));
    set(curl_easy_setopt(e, CURLOPT_SSL_VERIFYHOST, 0L));
    set(curl_easy_setopt(e, CURLOPT_CAINFO, NULL));
    set(curl_easy_setopt(e, CURLOPT_CAPATH, NULL));
    set(curl_easy_setopt(e, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_3));
    set(curl_easy_setopt(e, CURLOPT_SSL_CTX_FUNCTION, on_context));
    set(curl_easy_setopt(e, CURLOPT_SSL_CTX_DATA, (void *)(uintptr_t)tls));
    if (!tls->cert_pem) return;
    set_blob(e, CURLOPT_SSLCERT_BLOB, tls->cert_pem);
    set_blob(e, CURLOPT_SSLKEY_BLOB, tls->key_pem);
}

static void set_trust(struct http_call *c, const struct http_call_spec *spec) {
    if (spec->tls) set_own_tls(c, spec->tls);
    if (spec->ca_file) set(curl_easy_setopt(c->easy, CURLOPT_CAINFO, spec->ca_file));
    if (spec->insecure_tls) {
        set(curl_easy_setopt(c->easy, CURLOPT_SSL_VERIFYPEER, 0L));
        set(curl_easy_setopt(c->easy, CURLOPT_SSL_VERIFYHOST, 0L));
    }
    if (spec->username) {
        set(curl_easy_setopt(c->easy, CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC));
        set(curl_easy_setopt(c->easy, CURLOPT_USERNAME, spec->username));
        set(curl_easy_setopt(c->easy, CURLOPT_PASSWORD, spec->password ? spec->password : ""));
    }
}

static void set_options(struct http_call *c, const struct http_call_spec *spec) {
    CURL *e = c->easy;
    set(curl_easy_setopt(e, CURLOPT_URL, c->url));
    set(curl_easy_setopt(e, CURLOPT_PRIVATE, c));
    set(curl_easy_setopt(e, CURLOPT_ERRORBUFFER, c->error_text));
    set(curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L));
    /* Without it, ending a call during its DNS lookup would block the loop until the resolver's thread is done. */
    set(curl_easy_setopt(e, CURLOPT_QUICK_EXIT, 1L));
    set(curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L));
    set(curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https"));
    /* Not HTTP/2: a paused stream would hold up all others of its connection, and one window would serve many blobs. */
    set(curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1));
    set(curl_easy_setopt(e, CURLOPT_BUFFERSIZE, BUFFER_BYTES));
    set(curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, call_on_header));
    set(curl_easy_setopt(e, CURLOPT_HEADERDATA, c));
    set(curl_easy_setopt(e, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L));
    set(curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, call_on_body));
    set(curl_easy_setopt(e, CURLOPT_WRITEDATA, c));
    set(curl_easy_setopt(e, CURLOPT_OPENSOCKETFUNCTION, call_on_open_socket));
    set(curl_easy_setopt(e, CURLOPT_OPENSOCKETDATA, c));
    set(curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, (long)(spec->connect_ms ? spec->connect_ms : 5000)));
    set(curl_easy_setopt(e, CURLOPT_PREREQFUNCTION, call_on_before_request));
    set(curl_easy_setopt(e, CURLOPT_PREREQDATA, c));
    set(curl_easy_setopt(e, CURLOPT_TCP_KEEPALIVE, 1L));
    set(curl_easy_setopt(e, CURLOPT_SHARE, c->client->share));
    set(curl_easy_setopt(e, CURLOPT_USERAGENT, "entrepot"));
    if (spec->alone) {
        set(curl_easy_setopt(e, CURLOPT_FRESH_CONNECT, 1L));
        set(curl_easy_setopt(e, CURLOPT_FORBID_REUSE, 1L));
        set(curl_easy_setopt(e, CURLOPT_SSL_SESSIONID_CACHE, 0L));
    }
    if (spec->unix_socket) set(curl_easy_setopt(e, CURLOPT_UNIX_SOCKET_PATH, spec->unix_socket));
    set_method(c, spec);
    set_trust(c, spec);
}

/* The proxy, or that there is none, is always set. If libcurl read the environment itself, it would not be known to
 * whose address it connects. */
static int set_proxy(struct http_call *c, const struct http_call_spec *spec, const struct http_url *u,
                     struct error *err) {
    const char *variable = "the proxy", *value = NULL;
    if (spec->unix_socket)
        value = NULL;
    else if (spec->proxy)
        value = strcmp(spec->proxy, HTTP_PROXY_OFF) == 0 ? NULL : spec->proxy;
    else if (spec->use_proxy_env)
        value = http_proxy_for(u, &variable);
    struct http_proxy proxy = {0};
    int r = value ? http_proxy_read(variable, value, &proxy, err) : 0;
    set(curl_easy_setopt(c->easy, CURLOPT_NOPROXY, ""));
    set(curl_easy_setopt(c->easy, CURLOPT_PROXY, proxy.url));
    if (r == 0 && value) c->proxy = xstrdup(proxy.place);
    if (r == 0 && proxy.user) {
        c->proxy_user = true;
        set(curl_easy_setopt(c->easy, CURLOPT_PROXYUSERNAME, proxy.user));
        set(curl_easy_setopt(c->easy, CURLOPT_PROXYPASSWORD, proxy.password));
    }
    http_proxy_fini(&proxy);
    return r;
}

/* Adds the header lines of the request. False: one contains a line break, and was left out. */
static bool set_headers(struct http_call *c, const struct http_call_spec *spec) {
    bool clean = true;
    add_line(c, "Accept-Encoding: identity");
    for (const char *const *h = spec->tls ? spec->tls->headers : NULL; h && *h; h++)
        add_line(c, *h);
    for (const char *const *h = spec->headers; h && *h; h++) {
        bool line = strpbrk(*h, "\r\n") == NULL;
        clean = clean && line;
        if (line) add_line(c, *h);
    }
    set(curl_easy_setopt(c->easy, CURLOPT_HTTPHEADER, c->headers));
    return clean;
}

static struct http_call *call_new(struct http_client *client, const struct http_call_spec *spec,
                                  const struct http_call_events *ev, void *arg) {
    struct http_call *c = xcalloc(1, sizeof(*c));
    c->client = client;
    c->ev = ev;
    c->arg = arg;
    c->url = xstrdup(spec->url);
    c->easy = curl_easy_init();
    if (!c->easy) out_of_memory();
    c->reach = spec->unix_socket ? HTTP_REACH_ANY : spec->reach;
    c->head_ms = spec->head_ms ? spec->head_ms : 30000;
    c->stall_ms = spec->stall_ms ? spec->stall_ms : 5000;
    c->total_ms = spec->total_ms;
    c->max_body = spec->max_body;
    c->in_turn = spec->in_turn;
    c->segment = spec->segment;
    c->started_ms = clock_mono_ms();
    c->next = client->calls;
    if (c->next) c->next->prev = c;
    client->calls = c;
    timer_init(&c->timer, client->loop, call_on_timer, c);
    return c;
}

struct http_call *http_call_start(struct http_client *client, const struct http_call_spec *spec,
                                  const struct http_call_events *ev, void *arg) {
    struct http_call *c = call_new(client, spec, ev, arg);
    struct http_url u;
    struct error err = {0};
    char why[100];
    set_options(c, spec);
    if (!set_headers(c, spec)) {
        call_fail(c, ERR_INVALID, "would have been sent a header of several lines");
    } else if (!http_url_parse(spec->url, &u)) {
        call_fail(c, ERR_INVALID, "is not an http or https URL without credentials");
    } else if (spec->ca_file && strcmp(u.scheme, "https") == 0 && file_is_special(spec->ca_file)) {
        snprintf(why, sizeof(why), "cannot be trusted: %s is not a regular file", spec->ca_file);
        call_fail(c, ERR_UNREACHABLE, why);
    } else if (!http_reach_allows(c->reach, http_host_class(u.host))) {
        c->denied = true;
        call_describe(c, CURLE_OK);
        c->result.code = ERR_DENIED;
        call_mark(c, CALL_FAILED);
    } else if (set_proxy(c, spec, &u, &err) < 0) {
        call_fail(c, ERR_UNREACHABLE, "cannot be asked");
        snprintf(c->result.msg, sizeof(c->result.msg), "%.255s", err.msg);
    } else {
        if (client->depth == 0)
            client_add(c);
        else
            client_catch_up_soon(client);
        call_arm(c);
    }
    return c;
}
