/* HTTP client: libcurl's multi interface on one loop's event base. libcurl tells which sockets to watch and when to be
 * woken; every call is one easy handle. Thread: the fetch loop.
 *
 * A call ends in exactly one of: done (libcurl finished, or one of our own time-outs or limits struck), a callback that
 * returned false, or http_call_cancel. libcurl forbids removing a handle from within its own callbacks, so calls ended
 * there are marked and reaped afterwards. */
#include "common/http/client.h"

#include "common/core/clock.h"

#include <assert.h>
#include <curl/curl.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define HEAD_BYTES_MAX (64 * 1024)
#define HEADERS_MAX 128
#define BUFFER_BYTES (512L * 1024)
#define WATCH_MS 250

struct watch {
    struct event *ev;
};

struct http_client {
    struct loop *loop;
    CURLM *multi;
    struct timer timer;
    struct timer reap; /* calls that ended within libcurl's callbacks */
    struct http_call *calls;
    unsigned depth; /* > 0: within libcurl, which may not be told to add or remove a handle */
};

enum call_end { CALL_RUNNING, CALL_DROPPED, CALL_FAILED };

struct http_call {
    struct http_client *client;
    CURL *easy;
    struct curl_slist *headers;
    const struct http_call_events *ev;
    void *arg;
    char *url;
    void *body;
    enum http_reach reach;
    enum call_end end;
    struct http_result result; /* CALL_FAILED: why */
    char error_text[CURL_ERROR_SIZE];
    char denied[80]; /* an address that reach does not allow */
    int64_t head_ms, stall_ms, max_body, body_bytes;
    int64_t started_ms, progress_ms;
    struct timer watch;
    bool head_done, paused, added;
    /* The head of the current answer: "Name\0value\0" one after the other. */
    char *head;
    size_t head_len, head_total;
    unsigned n_headers;
    struct http_answer answer;
    char remote[80];
    struct http_call *next, *prev;
};

/* --- ending --- */

static void call_free(struct http_call *c) {
    if (c->prev)
        c->prev->next = c->next;
    else
        c->client->calls = c->next;
    if (c->next) c->next->prev = c->prev;
    if (c->added) curl_multi_remove_handle(c->client->multi, c->easy);
    curl_easy_cleanup(c->easy);
    curl_slist_free_all(c->headers);
    timer_fini(&c->watch);
    free(c->url);
    free(c->body);
    free(c->head);
    free(c);
}

/* Tells done and frees. Not within libcurl. */
static void finish(struct http_call *c) {
    c->result.body_bytes = c->body_bytes;
    c->result.status = c->answer.status;
    c->ev->done(c, &c->result, c->arg);
    call_free(c);
}

static void mark(struct http_call *c, enum call_end end) {
    if (c->end == CALL_RUNNING || end == CALL_DROPPED) c->end = end;
    timer_set(&c->client->reap, 0);
}

/* Hands a started call to libcurl. */
static void add(struct http_call *c) {
    if (c->added) return;
    c->added = true;
    if (curl_multi_add_handle(c->client->multi, c->easy) != CURLM_OK) abort();
}

/* What could not be done within libcurl. */
static void on_reap(void *arg) {
    struct http_client *client = arg;
    for (struct http_call *c = client->calls, *next; c; c = next) {
        next = c->next;
        if (c->end == CALL_RUNNING) {
            add(c);
            continue;
        }
        /* finish may cancel or start other calls: begin again. */
        if (c->end == CALL_FAILED)
            finish(c);
        else
            call_free(c);
        next = client->calls;
    }
}

static void fail(struct http_call *c, int code, const char *msg) {
    if (c->end != CALL_RUNNING) return;
    c->result.code = code;
    snprintf(c->result.msg, sizeof(c->result.msg), "%.255s", msg);
    mark(c, CALL_FAILED);
}

/* --- the head --- */

static const char *find_header(const struct http_answer *a, const char *name) {
    const struct http_call *c = container_of(a, struct http_call, answer);
    const char *found = NULL, *p = c->head;
    for (unsigned i = 0; i < c->n_headers; i++) {
        const char *value = p + strlen(p) + 1;
        if (strcasecmp(p, name) == 0) found = value;
        p = value + strlen(value) + 1;
    }
    return found;
}

static bool add_header(struct http_call *c, const char *name, size_t name_len, const char *value, size_t value_len) {
    size_t need = name_len + value_len + 2;
    if (c->n_headers >= HEADERS_MAX || memchr(value, '\0', value_len) || memchr(name, '\0', name_len)) return false;
    char *head = realloc(c->head, c->head_len + need);
    if (!head) abort();
    c->head = head;
    memcpy(head + c->head_len, name, name_len);
    head[c->head_len + name_len] = '\0';
    memcpy(head + c->head_len + name_len + 1, value, value_len);
    head[c->head_len + need - 1] = '\0';
    c->head_len += need;
    c->n_headers++;
    return true;
}

/* The empty line after the last head (a 1xx or proxy CONNECT head is not the last). */
static bool head_complete(struct http_call *c) {
    long status = 0, connected = 0;
    curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(c->easy, CURLINFO_HTTP_CONNECTCODE, &connected);
    if (status < 200) return true;
    curl_off_t length = -1;
    curl_easy_getinfo(c->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    const char *ip = NULL;
    long port = 0;
    curl_easy_getinfo(c->easy, CURLINFO_PRIMARY_IP, &ip);
    curl_easy_getinfo(c->easy, CURLINFO_PRIMARY_PORT, &port);
    snprintf(c->remote, sizeof(c->remote), "%s:%ld", ip ? ip : "", port);
    c->answer.status = (int)status;
    c->answer.content_length = length;
    c->answer.header = find_header;
    c->answer.remote = c->remote;
    c->head_done = true;
    c->progress_ms = clock_mono_ms();
    if (c->ev->head(c, &c->answer, c->arg)) return true;
    mark(c, CALL_DROPPED);
    return false;
}

static size_t on_header(char *data, size_t size, size_t n, void *arg) {
    struct http_call *c = arg;
    size_t len = size * n;
    if (c->end != CALL_RUNNING) return 0;
    c->head_total += len;
    if (c->head_total > HEAD_BYTES_MAX) {
        fail(c, ERR_UPSTREAM, "the answer's head is larger than 64 KiB");
        return 0;
    }
    size_t trimmed = len;
    while (trimmed && (data[trimmed - 1] == '\r' || data[trimmed - 1] == '\n'))
        trimmed--;
    if (trimmed >= 5 && memcmp(data, "HTTP/", 5) == 0) {
        /* Trailers come after the head and are not looked at. */
        if (!c->head_done) c->head_len = c->n_headers = 0;
        return len;
    }
    if (c->head_done) return len;
    if (trimmed == 0) return head_complete(c) ? len : 0;
    const char *colon = memchr(data, ':', trimmed);
    if (!colon) return len;
    const char *value = colon + 1, *end = data + trimmed;
    while (value < end && (*value == ' ' || *value == '\t'))
        value++;
    if (!add_header(c, data, (size_t)(colon - data), value, (size_t)(end - value))) {
        fail(c, ERR_UPSTREAM, "the answer's head is not acceptable");
        return 0;
    }
    return len;
}

static size_t on_body(char *data, size_t size, size_t n, void *arg) {
    struct http_call *c = arg;
    size_t len = size * n;
    if (c->end != CALL_RUNNING) return 0;
    c->body_bytes += (int64_t)len;
    c->progress_ms = clock_mono_ms();
    if (c->max_body > 0 && c->body_bytes > c->max_body) {
        fail(c, ERR_TOO_BIG, "the answer's body is larger than allowed");
        return 0;
    }
    if (!c->ev->data(c, data, len, c->arg)) {
        mark(c, CALL_DROPPED);
        return 0;
    }
    /* A pause asked for within the callback is carried out outside: returning CURL_WRITEFUNC_PAUSE would deliver this
     * part again. */
    if (c->paused) timer_set(&c->watch, 0);
    return len;
}

/* --- addresses --- */

static curl_socket_t on_open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address) {
    (void)purpose;
    struct http_call *c = arg;
    if (c->reach == HTTP_REACH_PUBLIC && address->family != AF_UNIX && !http_addr_is_public(&address->addr)) {
        snprintf(c->denied, sizeof(c->denied), "a loopback, private or otherwise special address");
        return CURL_SOCKET_BAD;
    }
    return socket(address->family, address->socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, address->protocol);
}

/* --- libcurl and the loop --- */

static void check_done(struct http_client *client);

static void on_socket(evutil_socket_t fd, short what, void *arg) {
    struct http_client *client = arg;
    int running, mask = (what & EV_READ ? CURL_CSELECT_IN : 0) | (what & EV_WRITE ? CURL_CSELECT_OUT : 0);
    client->depth++;
    curl_multi_socket_action(client->multi, fd, mask, &running);
    client->depth--;
    check_done(client);
}

static int on_watch_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg) {
    (void)easy;
    struct http_client *client = arg;
    struct watch *w = socket_arg;
    if (what == CURL_POLL_REMOVE) {
        if (w) {
            event_free(w->ev);
            free(w);
        }
        curl_multi_assign(client->multi, fd, NULL);
        return 0;
    }
    short events = (short)(EV_PERSIST | (what & CURL_POLL_IN ? EV_READ : 0) | (what & CURL_POLL_OUT ? EV_WRITE : 0));
    if (!w) {
        w = calloc(1, sizeof(*w));
        if (!w) abort();
        curl_multi_assign(client->multi, fd, w);
    } else {
        event_free(w->ev);
    }
    w->ev = event_new(loop_base(client->loop), fd, events, on_socket, client);
    if (!w->ev || event_add(w->ev, NULL) != 0) abort();
    return 0;
}

static void on_timer(void *arg) {
    struct http_client *client = arg;
    int running;
    client->depth++;
    curl_multi_socket_action(client->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    client->depth--;
    check_done(client);
}

static int on_set_timer(CURLM *multi, long ms, void *arg) {
    (void)multi;
    struct http_client *client = arg;
    if (ms < 0)
        timer_clear(&client->timer);
    else
        timer_set(&client->timer, ms);
    return 0;
}

static int code_of(CURLcode r) {
    switch (r) {
    case CURLE_OK:
        return 0;
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
        return ERR_INVALID;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_CONNECT:
        return ERR_UNREACHABLE;
    case CURLE_OPERATION_TIMEDOUT:
        return ERR_TIMEOUT;
    default:
        return ERR_UPSTREAM;
    }
}

/* "127.0.0.1:5001" of the URL, for messages. */
static const char *place_of(const struct http_call *c, char out[300]) {
    struct http_url u;
    if (!http_url_parse(c->url, &u)) return "an unusable address";
    snprintf(out, 300, strchr(u.host, ':') ? "[%s]:%u" : "%s:%u", u.host, u.port);
    return out;
}

static void take_result(struct http_call *c, CURLcode r) {
    if (c->end == CALL_DROPPED) {
        call_free(c);
        return;
    }
    if (c->end == CALL_RUNNING) {
        char place[300];
        c->result.code = code_of(r);
        if (r == CURLE_OPERATION_TIMEDOUT && !c->head_done) {
            curl_off_t connected = 0;
            curl_easy_getinfo(c->easy, CURLINFO_CONNECT_TIME_T, &connected);
            if (connected == 0) c->result.code = ERR_UNREACHABLE;
        }
        if (c->denied[0]) {
            c->result.code = ERR_DENIED;
            snprintf(c->result.msg, sizeof(c->result.msg), "%s is %s, which the other side may not send us to",
                     place_of(c, place), c->denied);
        } else if (r != CURLE_OK) {
            snprintf(c->result.msg, sizeof(c->result.msg), "%.90s: %.150s", place_of(c, place),
                     c->error_text[0] ? c->error_text : curl_easy_strerror(r));
        }
    }
    finish(c);
}

static void check_done(struct http_client *client) {
    CURLMsg *m;
    int left;
    while ((m = curl_multi_info_read(client->multi, &left))) {
        if (m->msg != CURLMSG_DONE) continue;
        struct http_call *c = NULL;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&c);
        take_result(c, m->data.result);
    }
}

/* --- our own clock over each call --- */

static void on_watch(void *arg) {
    struct http_call *c = arg;
    if (c->end != CALL_RUNNING) return;
    if (c->paused) {
        curl_easy_pause(c->easy, CURLPAUSE_RECV);
        c->progress_ms = clock_mono_ms();
    }
    int64_t now = clock_mono_ms();
    char place[300], msg[400];
    if (!c->head_done && now - c->started_ms > c->head_ms) {
        snprintf(msg, sizeof(msg), "%s sent no answer within %lld s", place_of(c, place), (long long)c->head_ms / 1000);
        fail(c, ERR_TIMEOUT, msg);
        return;
    }
    if (c->head_done && !c->paused && now - c->progress_ms > c->stall_ms) {
        snprintf(msg, sizeof(msg), "%s sent nothing for %lld s", place_of(c, place), (long long)c->stall_ms / 1000);
        fail(c, ERR_TIMEOUT, msg);
        return;
    }
    timer_set(&c->watch, WATCH_MS);
}

void http_call_pause(struct http_call *c) {
    c->paused = true;
    timer_set(&c->watch, 0);
}

void http_call_resume(struct http_call *c) {
    if (!c->paused || c->end != CALL_RUNNING) return;
    c->paused = false;
    c->progress_ms = clock_mono_ms();
    /* libcurl may deliver what it has held back from within this call. */
    c->client->depth++;
    curl_easy_pause(c->easy, CURLPAUSE_CONT);
    c->client->depth--;
    timer_set(&c->watch, WATCH_MS);
}

/* --- starting --- */

static void set(CURLcode r) {
    if (r != CURLE_OK) abort(); /* only memory or a libcurl older than what we build against */
}

static void set_method(struct http_call *c, const struct http_call_spec *spec) {
    if (strcmp(spec->method, "HEAD") == 0) {
        set(curl_easy_setopt(c->easy, CURLOPT_NOBODY, 1L));
    } else if (strcmp(spec->method, "POST") == 0) {
        c->body = malloc(spec->body_len + 1);
        if (!c->body) abort();
        if (spec->body_len) memcpy(c->body, spec->body, spec->body_len);
        set(curl_easy_setopt(c->easy, CURLOPT_POST, 1L));
        set(curl_easy_setopt(c->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)spec->body_len));
        set(curl_easy_setopt(c->easy, CURLOPT_POSTFIELDS, c->body));
        c->headers = curl_slist_append(c->headers, "Expect:");
    } else {
        set(curl_easy_setopt(c->easy, CURLOPT_HTTPGET, 1L));
    }
}

static void set_trust(struct http_call *c, const struct http_call_spec *spec) {
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
    set(curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L));
    set(curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https"));
    set(curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS));
    set(curl_easy_setopt(e, CURLOPT_BUFFERSIZE, BUFFER_BYTES));
    set(curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header));
    set(curl_easy_setopt(e, CURLOPT_HEADERDATA, c));
    set(curl_easy_setopt(e, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L));
    set(curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body));
    set(curl_easy_setopt(e, CURLOPT_WRITEDATA, c));
    set(curl_easy_setopt(e, CURLOPT_OPENSOCKETFUNCTION, on_open_socket));
    set(curl_easy_setopt(e, CURLOPT_OPENSOCKETDATA, c));
    set(curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, (long)(spec->connect_ms ? spec->connect_ms : 5000)));
    if (spec->total_ms) set(curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, (long)spec->total_ms));
    /* A proxy of the environment is used only where the operator chose the destination. */
    if (!spec->use_proxy_env) set(curl_easy_setopt(e, CURLOPT_PROXY, ""));
    if (spec->unix_socket) set(curl_easy_setopt(e, CURLOPT_UNIX_SOCKET_PATH, spec->unix_socket));
    set_method(c, spec);
    set_trust(c, spec);
    set(curl_easy_setopt(e, CURLOPT_HTTPHEADER, c->headers));
}

/* Behind a proxy the address is the proxy's: a literal one in the URL is checked here. */
static bool literal_denied(const struct http_call_spec *spec, const struct http_url *u) {
    if (spec->reach != HTTP_REACH_PUBLIC || spec->unix_socket) return false;
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST}, *found = NULL;
    if (getaddrinfo(u->host, NULL, &hints, &found) != 0) return false;
    bool denied = !http_addr_is_public(found->ai_addr);
    freeaddrinfo(found);
    return denied;
}

struct http_call *http_call_start(struct http_client *client, const struct http_call_spec *spec,
                                  const struct http_call_events *ev, void *arg) {
    struct http_call *c = calloc(1, sizeof(*c));
    if (!c) abort();
    c->client = client;
    c->ev = ev;
    c->arg = arg;
    c->url = strdup(spec->url);
    c->easy = curl_easy_init();
    if (!c->url || !c->easy) abort();
    c->reach = spec->reach;
    c->head_ms = spec->head_ms ? spec->head_ms : 30000;
    c->stall_ms = spec->stall_ms ? spec->stall_ms : 5000;
    c->max_body = spec->max_body;
    c->started_ms = clock_mono_ms();
    c->next = client->calls;
    if (c->next) c->next->prev = c;
    client->calls = c;
    timer_init(&c->watch, client->loop, on_watch, c);
    c->headers = curl_slist_append(NULL, "Accept-Encoding: identity");
    for (const char *const *h = spec->headers; h && *h; h++)
        c->headers = curl_slist_append(c->headers, *h);
    set_options(c, spec);
    struct http_url u;
    if (!http_url_parse(spec->url, &u)) {
        fail(c, ERR_INVALID, "not an http or https URL without credentials");
        return c;
    }
    if (literal_denied(spec, &u)) {
        fail(c, ERR_DENIED, "the other side may not send us to a loopback, private or otherwise special address");
        return c;
    }
    if (client->depth == 0)
        add(c);
    else
        timer_set(&client->reap, 0);
    timer_set(&c->watch, WATCH_MS);
    return c;
}

void http_call_cancel(struct http_call *c) {
    if (c->client->depth == 0)
        call_free(c);
    else
        mark(c, CALL_DROPPED);
}

struct http_client *http_client_new(struct loop *l) {
    static bool initialised;
    if (!initialised && curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) abort();
    initialised = true;
    struct http_client *client = calloc(1, sizeof(*client));
    if (!client) abort();
    client->loop = l;
    client->multi = curl_multi_init();
    if (!client->multi) abort();
    timer_init(&client->timer, l, on_timer, client);
    timer_init(&client->reap, l, on_reap, client);
    curl_multi_setopt(client->multi, CURLMOPT_SOCKETFUNCTION, on_watch_socket);
    curl_multi_setopt(client->multi, CURLMOPT_SOCKETDATA, client);
    curl_multi_setopt(client->multi, CURLMOPT_TIMERFUNCTION, on_set_timer);
    curl_multi_setopt(client->multi, CURLMOPT_TIMERDATA, client);
    curl_multi_setopt(client->multi, CURLMOPT_MAXCONNECTS, 64L);
    curl_multi_setopt(client->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_MULTIPLEX);
    return client;
}

void http_client_free(struct http_client *client) {
    if (!client) return;
    while (client->calls)
        call_free(client->calls);
    curl_multi_cleanup(client->multi);
    timer_fini(&client->timer);
    timer_fini(&client->reap);
    free(client);
}
