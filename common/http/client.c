/* HTTP client: libcurl's multi interface on one loop's event base. libcurl tells which sockets to watch and when to be
 * woken; every call is one easy handle. Thread: the fetch loop.
 *
 * A call ends in exactly one of: done (libcurl finished, or one of our own time-outs or limits struck), a callback that
 * returned false, or http_call_cancel. libcurl forbids removing a handle from within its own callbacks, so calls ended
 * there are marked and reaped afterwards. */
#include "common/http/client.h"

#include "common/core/alloc.h"
#include "common/core/clock.h"
#include "common/core/file.h"
#include "common/core/hide.h"
#include "common/http/answer_head.h"
#include "common/http/proxy_failure.h"

#include <assert.h>
#include <curl/curl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define HEAD_BYTES_MAX (64 * 1024)
/* One read of the socket: the caller hashes what it gets while it is still in the second-level cache. */
#define BUFFER_BYTES (256L * 1024)
#define IDLE_CONNECTIONS 64L
/* libcurl reads a socket that is never empty a hundred times in a row: after so many bytes the loop's other work has
 * its turn. */
#define TURN_BYTES ((size_t)4 * 1024 * 1024)

struct watch {
    struct event *ev;
};

struct http_client {
    struct loop *loop;
    CURLM *multi;
    CURLSH *share; /* TLS sessions, so that a new connection to a known host resumes */
    struct timer timer;
    struct timer chores; /* what libcurl forbids within its callbacks, done right after */
    struct http_call *calls;
    struct http_call *fed; /* got data within libcurl, and have not been told that it was all for now */
    size_t turn_bytes;     /* of bodies, since libcurl was last called */
    unsigned depth;        /* > 0: within libcurl, which may not be told to add or remove a handle */
};

enum call_end { CALL_RUNNING, CALL_DROPPED, CALL_FAILED, CALL_TELLING };

struct http_call {
    struct http_client *client;
    CURL *easy;
    struct curl_slist *headers;
    const struct http_call_events *ev;
    void *arg;
    char *url;
    void *body;
    enum http_reach reach;
    char *proxy; /* "host:port": the address connected to is the proxy's; NULL: none */
    bool proxy_user;
    enum call_end end;
    struct http_result result; /* CALL_FAILED: why */
    char error_text[CURL_ERROR_SIZE];
    bool denied; /* an address that reach does not allow */
    int64_t head_ms, stall_ms, total_ms, max_body, body_bytes;
    int64_t started_ms, progress_ms;
    struct timer watch;
    bool head_done, added, is_head;
    bool paused; /* asked for */
    bool held;   /* libcurl keeps a part of the body until it is told to go on */
    bool fed;    /* in the client's list of that name */
    struct answer_head head;
    size_t head_total; /* bytes of all heads, 1xx and trailers too */
    struct http_answer answer;
    char remote[80];
    struct http_call *next, *prev, *next_fed;
};

/* "127.0.0.1:5001" of the URL, for messages. */
static const char *place_of(const struct http_call *c, char out[280]) {
    struct http_url u;
    if (!http_url_parse(c->url, &u)) return "an unusable address";
    snprintf(out, 280, strchr(u.host, ':') ? "[%s]:%u" : "%s:%u", u.host, u.port);
    return out;
}

/* --- ending --- */

static void call_free(struct http_call *c) {
    assert(!c->fed);
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
    free(c->proxy);
    answer_head_fini(&c->head);
    free(c);
}

/* Tells done and frees. Not within libcurl. */
static void finish(struct http_call *c) {
    c->end = CALL_TELLING;
    c->result.body_bytes = c->body_bytes;
    c->result.status = c->answer.status;
    c->ev->done(c, &c->result, c->arg);
    call_free(c);
}

static void mark(struct http_call *c, enum call_end end) {
    if (c->end == CALL_RUNNING || end == CALL_DROPPED) c->end = end;
    timer_set(&c->client->chores, 0);
}

static void add(struct http_call *c) {
    if (c->added) return;
    c->added = true;
    CURLMcode r = curl_multi_add_handle(c->client->multi, c->easy);
    if (r == CURLM_OUT_OF_MEMORY) out_of_memory();
    assert(r == CURLM_OK);
}

/* Those that got data are told that this was all for now. As within libcurl: no call goes away meanwhile. */
static void tell_lulls(struct http_client *client) {
    for (struct http_call *c; (c = client->fed);) {
        client->fed = c->next_fed;
        c->fed = false;
        if (c->held && !c->paused) continue; /* its turn was over, not what it has */
        if (c->end == CALL_RUNNING && !c->ev->lull(c, c->arg)) mark(c, CALL_DROPPED);
    }
}

/* Lets libcurl hand over what it has kept. */
static void go_on(struct http_call *c) {
    struct http_client *client = c->client;
    c->held = false;
    client->depth++;
    client->turn_bytes = 0;
    curl_easy_pause(c->easy, CURLPAUSE_CONT);
    tell_lulls(client);
    client->depth--;
}

static void on_chores(void *arg) {
    struct http_client *client = arg;
    struct http_call *c = client->calls;
    while (c) {
        struct http_call *next = c->next;
        if (c->end == CALL_RUNNING) {
            add(c);
            if (c->held && !c->paused) go_on(c);
        }
        /* done may end any other call, so the walk begins again; what was done before is quick to see. */
        if (c->end == CALL_FAILED) {
            finish(c);
            next = client->calls;
        } else if (c->end == CALL_DROPPED) {
            call_free(c);
        }
        c = next;
    }
}

static void fail(struct http_call *c, int code, const char *msg) {
    if (c->end != CALL_RUNNING) return;
    char place[280];
    c->result.code = code;
    snprintf(c->result.msg, sizeof(c->result.msg), "%.90s %.160s", place_of(c, place), msg);
    hide_users(c->result.msg);
    mark(c, CALL_FAILED);
}

/* --- our own clock over each call --- */

/* When the next limit strikes. */
static int64_t deadline_of(const struct http_call *c) {
    int64_t at = c->total_ms > 0 ? c->started_ms + c->total_ms : INT64_MAX;
    int64_t other = INT64_MAX;
    if (!c->head_done)
        other = c->started_ms + c->head_ms;
    else if (!c->paused)
        other = c->progress_ms + c->stall_ms;
    return other < at ? other : at;
}

static void arm(struct http_call *c) {
    int64_t at = deadline_of(c);
    if (at != INT64_MAX) timer_set(&c->watch, at - clock_mono_ms());
}

/* Body parts only note the time; the timer finds here that it came too early and is set again. */
static void on_watch(void *arg) {
    struct http_call *c = arg;
    if (c->end != CALL_RUNNING) return;
    int64_t now = clock_mono_ms();
    char msg[100];
    if (now < deadline_of(c)) {
        arm(c);
        return;
    }
    if (c->total_ms > 0 && now >= c->started_ms + c->total_ms) {
        snprintf(msg, sizeof(msg), "was not done within %.1f s", (double)c->total_ms / 1000);
    } else if (!c->head_done) {
        snprintf(msg, sizeof(msg), "sent no answer within %.1f s", (double)c->head_ms / 1000);
    } else if (!c->paused) {
        snprintf(msg, sizeof(msg), "sent nothing for %.1f s", (double)c->stall_ms / 1000);
    } else {
        return;
    }
    fail(c, ERR_TIMEOUT, msg);
}

/* --- the head --- */

static const char *find_header(const struct http_answer *a, const char *name) {
    return answer_head_find(&container_of(a, struct http_call, answer)->head, name);
}

static const char *header_at(const struct http_answer *a, const char *name, unsigned i) {
    return answer_head_at(&container_of(a, struct http_call, answer)->head, name, i);
}

static struct proxied_call proxied(const struct http_call *c, const char *place) {
    return (struct proxied_call){.proxy = c->proxy, .has_user = c->proxy_user, .place = place};
}

/* The call fails then. */
static bool is_proxys_own(struct http_call *c) {
    char place[280];
    int status = c->answer.status;
    if (!c->answer.proxy || c->end != CALL_RUNNING) return false;
    if (!proxy_answers_itself(status, find_header(&c->answer, "content-type"))) return false;
    struct proxied_call by = proxied(c, place_of(c, place));
    c->result.code = ERR_UNREACHABLE;
    c->answer.status = 0; /* there is no answer */
    proxy_refusal_tell(&by, status, c->result.msg, sizeof(c->result.msg));
    mark(c, CALL_FAILED);
    return true;
}

/* The empty line after a head; that of a 1xx is not the last. */
static bool head_complete(struct http_call *c) {
    long status = 0, port = 0;
    curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &status);
    if (status < 200) return true;
    int64_t length = answer_head_length(&c->head);
    if (length == -2) {
        fail(c, ERR_UPSTREAM, "sent an answer whose length or transfer coding cannot be believed");
        return false;
    }
    const char *ip = "";
    curl_easy_getinfo(c->easy, CURLINFO_PRIMARY_IP, &ip);
    curl_easy_getinfo(c->easy, CURLINFO_PRIMARY_PORT, &port);
    snprintf(c->remote, sizeof(c->remote), strchr(ip, ':') ? "[%s]:%ld" : "%s:%ld", ip, port);
    struct http_url u = {0};
    enum http_addr_class at = http_host_class(c->proxy && http_url_parse(c->url, &u) ? u.host : ip);
    c->answer = (struct http_answer){.status = (int)status,
                                     .content_length = length,
                                     .header = find_header,
                                     .header_at = header_at,
                                     .remote = c->remote,
                                     .reach = http_reach_from(at)};
    bool plain = http_url_parse(c->url, &u) && strcmp(u.scheme, "http") == 0;
    if (c->proxy && plain) c->answer.proxy = c->proxy;
    c->head_done = true;
    c->progress_ms = clock_mono_ms();
    if (is_proxys_own(c)) return false;
    if (!c->is_head && c->max_body > 0 && length > c->max_body) {
        fail(c, ERR_TOO_BIG, "sent an answer larger than is allowed");
        return false;
    }
    arm(c);
    if (!c->ev->head || c->ev->head(c, &c->answer, c->arg)) return true;
    mark(c, CALL_DROPPED);
    return false;
}

static size_t on_header(char *data, size_t size, size_t n, void *arg) {
    struct http_call *c = arg;
    size_t len = size * n;
    if (c->end != CALL_RUNNING) return 0;
    c->head_total += len;
    if (c->head_total > HEAD_BYTES_MAX) {
        fail(c, ERR_UPSTREAM, "sent a head of more than 64 KiB");
        return 0;
    }
    size_t trimmed = len;
    while (trimmed && (data[trimmed - 1] == '\r' || data[trimmed - 1] == '\n'))
        trimmed--;
    if (trimmed >= 5 && memcmp(data, "HTTP/", 5) == 0) {
        /* Trailers come after the head and are not looked at. */
        if (!c->head_done) answer_head_clear(&c->head);
        return len;
    }
    if (c->head_done) return len;
    if (trimmed == 0) return head_complete(c) ? len : 0;
    const char *colon = memchr(data, ':', trimmed);
    if (!colon || data[0] == ' ' || data[0] == '\t') return len; /* a folded line: nothing we read uses them */
    const char *value = colon + 1, *end = data + trimmed;
    while (value < end && (*value == ' ' || *value == '\t'))
        value++;
    while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    if (!answer_head_add(&c->head, data, (size_t)(colon - data), value, (size_t)(end - value))) {
        fail(c, ERR_UPSTREAM, "sent a head with too many lines or a NUL");
        return 0;
    }
    return len;
}

static size_t on_body(char *data, size_t size, size_t n, void *arg) {
    struct http_call *c = arg;
    size_t len = size * n;
    if (c->end != CALL_RUNNING) return 0;
    if (c->paused || c->client->turn_bytes >= TURN_BYTES) {
        c->held = true;
        if (!c->paused) timer_set(&c->client->chores, 0);
        return CURL_WRITEFUNC_PAUSE; /* this part will come again */
    }
    c->client->turn_bytes += len;
    c->body_bytes += (int64_t)len;
    c->progress_ms = clock_mono_ms();
    if (c->max_body > 0 && c->body_bytes > c->max_body) {
        fail(c, ERR_TOO_BIG, "sent an answer larger than is allowed");
        return 0;
    }
    if (c->ev->lull && !c->fed) {
        c->fed = true;
        c->next_fed = c->client->fed;
        c->client->fed = c;
    }
    if (!c->ev->data || c->ev->data(c, data, len, c->arg)) return len;
    mark(c, CALL_DROPPED);
    return 0;
}

/* --- addresses --- */

static curl_socket_t on_open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address) {
    (void)purpose;
    struct http_call *c = arg;
    if (!c->proxy && address->family != AF_UNIX && !http_reach_allows(c->reach, http_addr_class(&address->addr))) {
        c->denied = true;
        return CURL_SOCKET_BAD;
    }
    return socket(address->family, address->socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, address->protocol);
}

/* Right before a request is sent: a kept connection may have been opened by a call with a wider reach. */
static int on_before_request(void *arg, char *ip, char *local_ip, int port, int local_port) {
    (void)local_ip;
    (void)port;
    (void)local_port;
    struct http_call *c = arg;
    if (c->proxy || http_reach_allows(c->reach, http_host_class(ip))) return CURL_PREREQFUNC_OK;
    c->denied = true;
    return CURL_PREREQFUNC_ABORT;
}

/* --- libcurl and the loop --- */

static void check_done(struct http_client *client);

static void act(struct http_client *client, curl_socket_t fd, int mask) {
    int running;
    client->depth++;
    client->turn_bytes = 0;
    curl_multi_socket_action(client->multi, fd, mask, &running);
    tell_lulls(client);
    client->depth--;
    check_done(client);
}

static void on_socket(evutil_socket_t fd, short what, void *arg) {
    struct http_client *client = arg;
    loop_enter(client->loop);
    act(client, fd, (what & EV_READ ? CURL_CSELECT_IN : 0) | (what & EV_WRITE ? CURL_CSELECT_OUT : 0));
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
        w = xcalloc(1, sizeof(*w));
        curl_multi_assign(client->multi, fd, w);
        w->ev = event_new(loop_base(client->loop), fd, events, on_socket, client);
        if (!w->ev) out_of_memory();
    } else {
        event_del(w->ev);
        event_assign(w->ev, loop_base(client->loop), fd, events, on_socket, client);
    }
    if (event_add(w->ev, NULL) != 0) abort();
    return 0;
}

static void on_timer(void *arg) {
    act(arg, CURL_SOCKET_TIMEOUT, 0);
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

#define TOO_LARGE 100 /* CURLE_TOO_LARGE, since libcurl 8.6 */

/* libcurl's words for what happened. */
static const char *text_of(const struct http_call *c, CURLcode r) {
    return c->error_text[0] ? c->error_text : curl_easy_strerror(r);
}

/* False: it is not the proxy's doing, or there is none. */
static bool describe_proxy(struct http_call *c, CURLcode r, const char *place, long os_error) {
    long status = 0;
    if (!c->proxy || r == CURLE_OK) return false;
    struct proxied_call by = proxied(c, place);
    curl_easy_getinfo(c->easy, CURLINFO_HTTP_CONNECTCODE, &status);
    if (status == 0 || status / 100 == 2)
        return proxy_failure_tell(&by, r, os_error, text_of(c, r), c->result.msg, sizeof(c->result.msg));
    c->result.code = ERR_UNREACHABLE;
    proxy_refusal_tell(&by, status, c->result.msg, sizeof(c->result.msg));
    return true;
}

/* OpenSSL says in its own words that what came was no TLS. */
static bool speaks_no_tls(const struct http_call *c, CURLcode r) {
    return r == CURLE_SSL_CONNECT_ERROR &&
           (strstr(c->error_text, "wrong version number") || strstr(c->error_text, "http request"));
}

/* What happened, for a person. */
static void describe(struct http_call *c, CURLcode r) {
    char place[280], *msg = c->result.msg;
    const size_t cap = sizeof(c->result.msg);
    long os_error = 0;
    curl_easy_getinfo(c->easy, CURLINFO_OS_ERRNO, &os_error);
    place_of(c, place);
    if (c->denied) {
        snprintf(msg, cap,
                 "%.100s is a loopback, private or otherwise special address, where the other side may not send us",
                 place);
    } else if (describe_proxy(c, r, place, os_error)) {
        return;
    } else if (r == CURLE_COULDNT_CONNECT && os_error) {
        snprintf(msg, cap, "connect to %.150s: %.90s", place, strerror((int)os_error));
    } else if (r == CURLE_OPERATION_TIMEDOUT) {
        snprintf(msg, cap, "connect to %.150s: timed out", place);
    } else if (speaks_no_tls(c, r)) {
        snprintf(msg, cap, "%.150s does not answer in TLS; if it serves plain HTTP, its URL begins with http://",
                 place);
    } else if (r == CURLE_GOT_NOTHING) {
        snprintf(msg, cap, "%.150s closed the connection without an answer", place);
    } else if ((r == CURLE_OUT_OF_MEMORY || (int)r == TOO_LARGE) && !c->head_done) {
        /* libcurl's own limit on a line, 100 KiB. Where memory ends, so do we. */
        snprintf(msg, cap, "%.150s sent a head with a line that is too long", place);
    } else if (r == CURLE_PARTIAL_FILE) {
        snprintf(msg, cap, "%.150s cut its answer short after %lld bytes", place, (long long)c->body_bytes);
    } else if (r != CURLE_OK) {
        snprintf(msg, cap, "%.120s: %.120s", place, text_of(c, r));
    }
}

static void take_result(struct http_call *c, CURLcode r) {
    if (c->end == CALL_DROPPED) {
        call_free(c);
        return;
    }
    if (c->end == CALL_RUNNING) {
        c->result.code = c->denied ? ERR_DENIED : code_of(r);
        describe(c, r);
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

void http_call_pause(struct http_call *c) {
    c->paused = true;
}

void http_call_resume(struct http_call *c) {
    if (!c->paused) return;
    c->paused = false;
    c->progress_ms = clock_mono_ms();
    arm(c);
    if (c->held) timer_set(&c->client->chores, 0);
}

/* --- starting --- */

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
    /* Else a call that ends while its name is looked up would wait for the resolver's thread, and the loop with it. */
    set(curl_easy_setopt(e, CURLOPT_QUICK_EXIT, 1L));
    set(curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L));
    set(curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https"));
    /* Not HTTP/2: a paused stream would hold up all others of its connection, and one window would serve many blobs. */
    set(curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1));
    set(curl_easy_setopt(e, CURLOPT_BUFFERSIZE, BUFFER_BYTES));
    set(curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header));
    set(curl_easy_setopt(e, CURLOPT_HEADERDATA, c));
    set(curl_easy_setopt(e, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L));
    set(curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body));
    set(curl_easy_setopt(e, CURLOPT_WRITEDATA, c));
    set(curl_easy_setopt(e, CURLOPT_OPENSOCKETFUNCTION, on_open_socket));
    set(curl_easy_setopt(e, CURLOPT_OPENSOCKETDATA, c));
    set(curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, (long)(spec->connect_ms ? spec->connect_ms : 5000)));
    set(curl_easy_setopt(e, CURLOPT_PREREQFUNCTION, on_before_request));
    set(curl_easy_setopt(e, CURLOPT_PREREQDATA, c));
    set(curl_easy_setopt(e, CURLOPT_TCP_KEEPALIVE, 1L));
    set(curl_easy_setopt(e, CURLOPT_SHARE, c->client->share));
    set(curl_easy_setopt(e, CURLOPT_USERAGENT, "entrepot"));
    if (spec->unix_socket) set(curl_easy_setopt(e, CURLOPT_UNIX_SOCKET_PATH, spec->unix_socket));
    set_method(c, spec);
    set_trust(c, spec);
}

/* libcurl is told which proxy, and that there is none, rather than left to read the environment: only so is it known
 * whose address it connects to. */
static int set_proxy(struct http_call *c, const struct http_call_spec *spec, const struct http_url *u,
                     struct error *err) {
    const char *variable, *value = spec->use_proxy_env && !spec->unix_socket ? http_proxy_for(u, &variable) : NULL;
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

/* Header lines as given, but for any that would end the line early. False if there was one. */
static bool set_headers(struct http_call *c, const struct http_call_spec *spec) {
    bool clean = true;
    add_line(c, "Accept-Encoding: identity");
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
    c->started_ms = clock_mono_ms();
    c->next = client->calls;
    if (c->next) c->next->prev = c;
    client->calls = c;
    timer_init(&c->watch, client->loop, on_watch, c);
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
        fail(c, ERR_INVALID, "would have been sent a header of several lines");
    } else if (!http_url_parse(spec->url, &u)) {
        fail(c, ERR_INVALID, "is not an http or https URL without credentials");
    } else if (spec->ca_file && strcmp(u.scheme, "https") == 0 && file_is_special(spec->ca_file)) {
        snprintf(why, sizeof(why), "cannot be trusted: %s is not a regular file", spec->ca_file);
        fail(c, ERR_UNREACHABLE, why);
    } else if (!http_reach_allows(c->reach, http_host_class(u.host))) {
        c->denied = true;
        describe(c, CURLE_OK);
        c->result.code = ERR_DENIED;
        mark(c, CALL_FAILED);
    } else if (set_proxy(c, spec, &u, &err) < 0) {
        fail(c, ERR_UNREACHABLE, "cannot be asked");
        snprintf(c->result.msg, sizeof(c->result.msg), "%.255s", err.msg);
    } else {
        if (client->depth == 0)
            add(c);
        else
            timer_set(&client->chores, 0);
        arm(c);
    }
    return c;
}

void http_call_cancel(struct http_call *c) {
    if (c->end == CALL_TELLING) return; /* it ends by itself */
    if (c->client->depth == 0)
        call_free(c);
    else
        mark(c, CALL_DROPPED);
}

static void init_libcurl(void) {
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) abort();
    /* Without the resolver's threads a slow DNS server would stop the loop. */
    if (!(curl_version_info(CURLVERSION_NOW)->features & CURL_VERSION_ASYNCHDNS)) abort();
}

struct http_client *http_client_new(struct loop *l) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, init_libcurl);
    struct http_client *client = xcalloc(1, sizeof(*client));
    client->loop = l;
    client->multi = curl_multi_init();
    client->share = curl_share_init();
    if (!client->multi || !client->share) out_of_memory();
    curl_share_setopt(client->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
    timer_init(&client->timer, l, on_timer, client);
    timer_init(&client->chores, l, on_chores, client);
    curl_multi_setopt(client->multi, CURLMOPT_SOCKETFUNCTION, on_watch_socket);
    curl_multi_setopt(client->multi, CURLMOPT_SOCKETDATA, client);
    curl_multi_setopt(client->multi, CURLMOPT_TIMERFUNCTION, on_set_timer);
    curl_multi_setopt(client->multi, CURLMOPT_TIMERDATA, client);
    curl_multi_setopt(client->multi, CURLMOPT_MAXCONNECTS, IDLE_CONNECTIONS);
    return client;
}

void http_client_free(struct http_client *client) {
    if (!client) return;
    for (struct http_call *c = client->calls, *next; c; c = next) {
        next = c->next;
        call_free(c);
    }
    curl_multi_cleanup(client->multi);
    curl_share_cleanup(client->share);
    timer_fini(&client->timer);
    timer_fini(&client->chores);
    free(client);
}
