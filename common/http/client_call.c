/* One call of the HTTP client: its answer, its time-outs and limits, and its end. A call ends in exactly one of: done
 * (libcurl finished, or one of our own time-outs or limits struck), a callback that returned false, or
 * http_call_cancel. Thread: the client's loop. */
#include "common/http/client_private.h"

#include "common/core/alloc.h"
#include "common/core/clock.h"
#include "common/core/hide.h"

#include <assert.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>

#define HEAD_BYTES_MAX (64 * 1024)
/* How long a call may wait for older ones of its client. */
#define TURN_WAIT_MS 2000
/* libcurl reads a socket that is never empty a hundred times in a row: after so many bytes the loop's other work has
 * its turn. */
#define TURN_BYTES ((size_t)4 * 1024 * 1024)

/* --- ending --- */

void call_free(struct http_call *c) {
    assert(!c->fed);
    if (c->prev)
        c->prev->next = c->next;
    else
        c->client->calls = c->next;
    if (c->next) c->next->prev = c->prev;
    if (c->in_turn) client_catch_up_soon(c->client); /* the next may go */
    if (c->added) curl_multi_remove_handle(c->client->multi, c->easy);
    curl_easy_cleanup(c->easy);
    curl_slist_free_all(c->headers);
    timer_fini(&c->timer);
    free(c->url);
    free(c->body);
    free(c->proxy);
    answer_head_fini(&c->head);
    free(c);
}

/* Tells done and frees. Not within libcurl. */
void call_finish(struct http_call *c) {
    /* libcurl notes the time of the connection only when TLS is there, too. */
    long own_port = 0;
    curl_off_t secured_us = 0;
    curl_easy_getinfo(c->easy, CURLINFO_LOCAL_PORT, &own_port);
    curl_easy_getinfo(c->easy, CURLINFO_APPCONNECT_TIME_T, &secured_us);
    c->end = CALL_TELLING;
    c->result.connected = own_port > 0;
    c->result.secured = secured_us > 0;
    c->result.body_bytes = c->body_bytes;
    c->result.status = c->answer.status;
    c->ev->done(c, &c->result, c->arg);
    call_free(c);
}

void call_take_result(struct http_call *c, CURLcode r) {
    if (c->end == CALL_DROPPED) {
        call_free(c);
        return;
    }
    if (c->end == CALL_RUNNING) {
        c->result.code = c->denied ? ERR_DENIED : call_code(r);
        c->result.refused = !c->denied && call_refused(c, r);
        call_describe(c, r);
    }
    call_finish(c);
}

void call_mark(struct http_call *c, enum call_end end) {
    if (c->end == CALL_RUNNING || end == CALL_DROPPED) c->end = end;
    client_catch_up_soon(c->client);
}

void call_fail(struct http_call *c, int code, const char *msg) {
    if (c->end != CALL_RUNNING) return;
    char place[280];
    c->result.code = code;
    snprintf(c->result.msg, sizeof(c->result.msg), "%.90s %.160s", call_place(c, place), msg);
    hide_users(c->result.msg);
    call_mark(c, CALL_FAILED);
}

void http_call_cancel(struct http_call *c) {
    if (c->end == CALL_TELLING) return; /* it is in its own done, and is freed after that */
    if (c->client->depth == 0)
        call_free(c);
    else
        call_mark(c, CALL_DROPPED);
}

/* --- time-outs --- */

/* When the call times out next; INT64_MAX: never. */
static int64_t deadline_of(const struct http_call *c) {
    if (c->in_turn && !c->added) return c->started_ms + TURN_WAIT_MS;
    int64_t at = c->total_ms > 0 ? c->started_ms + c->total_ms : INT64_MAX;
    int64_t other = INT64_MAX;
    if (!c->head_done)
        other = c->started_ms + c->head_ms;
    else if (!c->paused)
        other = c->progress_ms + c->stall_ms;
    return other < at ? other : at;
}

void call_arm(struct http_call *c) {
    int64_t at = deadline_of(c);
    if (at != INT64_MAX) timer_set(&c->timer, at - clock_mono_ms());
}

/* A part of the body does not set the timer, it only notes the time. So the timer may come too early, and is set
 * again. */
void call_on_timer(void *arg) {
    struct http_call *c = arg;
    if (c->end != CALL_RUNNING) return;
    int64_t now = clock_mono_ms();
    char msg[100];
    if (now < deadline_of(c)) {
        call_arm(c);
        return;
    }
    if (!c->added && c->in_turn) {
        c->in_turn = false;
        c->started_ms = now;
        call_arm(c);
        client_catch_up_soon(c->client);
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
    call_fail(c, ERR_TIMEOUT, msg);
}

/* --- the head --- */

static const char *find_header(const struct http_answer *a, const char *name) {
    return answer_head_find(&container_of(a, struct http_call, answer)->head, name);
}

static const char *header_at(const struct http_answer *a, const char *name, unsigned i) {
    return answer_head_at(&container_of(a, struct http_call, answer)->head, name, i);
}

/* True: a proxy made this answer, not the server; the call has been marked as failed. */
static bool is_proxys_own(struct http_call *c) {
    char place[280];
    int status = c->answer.status;
    if (!c->answer.proxy || c->end != CALL_RUNNING) return false;
    if (!proxy_answers_itself(status, find_header(&c->answer, "content-type"))) return false;
    struct proxied_call by = call_proxied(c, call_place(c, place));
    c->result.code = ERR_UNREACHABLE;
    c->answer.status = 0; /* there is no answer */
    proxy_refusal_tell(&by, status, c->result.msg, sizeof(c->result.msg));
    call_mark(c, CALL_FAILED);
    return true;
}

/* The empty line after a head. The head of a 1xx is followed by another. */
static bool head_complete(struct http_call *c) {
    long status = 0, port = 0;
    curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &status);
    if (status < 200) return true;
    int64_t length = answer_head_length(&c->head);
    if (length == -2) {
        call_fail(c, ERR_UPSTREAM, "sent an answer whose length or transfer coding cannot be believed");
        return false;
    }
    const char *ip = "";
    curl_easy_getinfo(c->easy, CURLINFO_PRIMARY_IP, &ip);
    curl_easy_getinfo(c->easy, CURLINFO_PRIMARY_PORT, &port);
    snprintf(c->remote, sizeof(c->remote), strchr(ip, ':') ? "[%s]:%ld" : "%s:%ld", ip, port);
    const char *own = NULL;
    curl_easy_getinfo(c->easy, CURLINFO_LOCAL_IP, &own);
    snprintf(c->local, sizeof(c->local), "%.45s", own ? own : "");
    struct http_url u = {0};
    enum http_addr_class at = http_host_class(c->proxy && http_url_parse(c->url, &u) ? u.host : ip);
    c->answer = (struct http_answer){.status = (int)status,
                                     .content_length = length,
                                     .header = find_header,
                                     .header_at = header_at,
                                     .remote = c->remote,
                                     .local = c->local,
                                     .reach = http_reach_from(at)};
    bool plain = http_url_parse(c->url, &u) && strcmp(u.scheme, "http") == 0;
    if (c->proxy && plain) c->answer.proxy = c->proxy;
    c->head_done = true;
    c->progress_ms = clock_mono_ms();
    if (is_proxys_own(c)) return false;
    if (!c->is_head && c->max_body > 0 && length > c->max_body) {
        call_fail(c, ERR_TOO_BIG, "sent an answer larger than is allowed");
        return false;
    }
    call_arm(c);
    if (!c->ev->head || c->ev->head(c, &c->answer, c->arg)) return true;
    call_mark(c, CALL_DROPPED);
    return false;
}

size_t call_on_header(char *data, size_t size, size_t n, void *arg) {
    struct http_call *c = arg;
    size_t len = size * n;
    if (c->end != CALL_RUNNING) return 0;
    c->head_total += len;
    if (c->head_total > HEAD_BYTES_MAX) {
        call_fail(c, ERR_UPSTREAM, "sent a head of more than 64 KiB");
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
        call_fail(c, ERR_UPSTREAM, "sent a head with too many lines or a NUL");
        return 0;
    }
    return len;
}

size_t call_on_body(char *data, size_t size, size_t n, void *arg) {
    struct http_call *c = arg;
    size_t len = size * n;
    if (c->end != CALL_RUNNING) return 0;
    if (c->paused || c->client->turn_bytes >= TURN_BYTES) {
        c->held = true;
        if (!c->paused) client_catch_up_soon(c->client);
        return CURL_WRITEFUNC_PAUSE; /* this part will come again */
    }
    c->client->turn_bytes += len;
    c->body_bytes += (int64_t)len;
    c->progress_ms = clock_mono_ms();
    if (c->max_body > 0 && c->body_bytes > c->max_body) {
        call_fail(c, ERR_TOO_BIG, "sent an answer larger than is allowed");
        return 0;
    }
    client_note_data(c);
    if (!c->ev->data || c->ev->data(c, data, len, c->arg)) return len;
    call_mark(c, CALL_DROPPED);
    return 0;
}

void http_call_pause(struct http_call *c) {
    c->paused = true;
}

void http_call_resume(struct http_call *c) {
    if (!c->paused) return;
    c->paused = false;
    c->progress_ms = clock_mono_ms();
    call_arm(c);
    if (c->held) client_catch_up_soon(c->client);
}

/* --- addresses --- */

curl_socket_t call_on_open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address) {
    (void)purpose;
    struct http_call *c = arg;
    if (!c->proxy && address->family != AF_UNIX && !http_reach_allows(c->reach, http_addr_class(&address->addr))) {
        c->denied = true;
        return CURL_SOCKET_BAD;
    }
    int fd = socket(address->family, address->socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, address->protocol);
    int segment = (int)c->segment;
    if (fd < 0 || segment == 0 || setsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &segment, sizeof(segment)) == 0) return fd;
    close(fd);
    return CURL_SOCKET_BAD;
}

/* Right before a request is sent: a kept connection may have been opened by a call with a wider reach. */
int call_on_before_request(void *arg, char *ip, char *local_ip, int port, int local_port) {
    (void)local_ip;
    (void)port;
    (void)local_port;
    struct http_call *c = arg;
    if (c->proxy || http_reach_allows(c->reach, http_host_class(ip))) return CURL_PREREQFUNC_OK;
    c->denied = true;
    return CURL_PREREQFUNC_ABORT;
}
