/* Structures shared by the files of the HTTP client only. client.c runs libcurl on the loop, client_start.c turns a
 * request into libcurl's options, client_call.c takes the answer, and client_failure.c says what went wrong. Thread: the
 * client's loop. */
#ifndef ENTREPOT_HTTP_CLIENT_PRIVATE_H
#define ENTREPOT_HTTP_CLIENT_PRIVATE_H

#include "common/http/answer_head.h"
#include "common/core/network.h"
#include "common/http/client.h"
#include "common/http/proxy_failure.h"

#include <curl/curl.h>

struct http_client {
    struct loop *loop;
    CURLM *multi;
    CURLSH *share;         /* TLS sessions, so that a new connection to a known host resumes */
    struct timer timer;    /* libcurl's own */
    struct timer catch_up; /* runs right after libcurl: what its callbacks may not do */
    struct http_call *calls;
    struct http_call *fed; /* got data from libcurl, and have yet to be told that no more is available */
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
    const struct http_tls *tls; /* NULL: the system's authorities count */
    bool denied;                /* an address that reach does not allow */
    int64_t head_ms, stall_ms, total_ms, max_body, body_bytes;
    int64_t started_ms, progress_ms;
    struct timer timer; /* of the next time-out */
    bool head_done, added, is_head;
    unsigned segment; /* as in struct http_call_spec */
    bool in_turn;     /* it waits while an older one of these is there */
    bool paused;      /* by its owner */
    bool held;        /* libcurl keeps a part of the body until curl_easy_pause lets it continue */
    bool fed;         /* in the client's list of that name */
    struct answer_head head;
    size_t head_total; /* bytes of all heads, 1xx and trailers too */
    struct http_answer answer;
    char remote[80], local[IP_TEXT_MAX];
    struct http_call *next, *prev, *next_fed;
};

/* client.c */
/* Gives the call to libcurl, unless that is done, or it waits for its turn. Not within libcurl. */
void client_add(struct http_call *c);
/* Soon, outside of libcurl: starts calls that wait for it, resumes those that may go on, and ends those that are
 * marked. */
void client_catch_up_soon(struct http_client *client);
/* Notes that the call got data, so that it is told when no more is available. */
void client_note_data(struct http_call *c);

/* client_call.c */
/* Not within libcurl. */
void call_free(struct http_call *c);
/* Tells done and frees. Not within libcurl. */
void call_finish(struct http_call *c);
/* libcurl has finished the call. Not within libcurl. */
void call_take_result(struct http_call *c, CURLcode r);
/* The call is ended so as soon as libcurl allows. */
void call_mark(struct http_call *c, enum call_end end);
/* Marks it CALL_FAILED, with a message about the server: "127.0.0.1:5001 <msg>". */
void call_fail(struct http_call *c, int code, const char *msg);
/* Sets the timer to the call's next time-out. */
void call_arm(struct http_call *c);
/* Callbacks of libcurl and of that timer; arg: the call. */
size_t call_on_header(char *data, size_t size, size_t n, void *arg);
size_t call_on_body(char *data, size_t size, size_t n, void *arg);
curl_socket_t call_on_open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address);
int call_on_before_request(void *arg, char *ip, char *local_ip, int port, int local_port);
void call_on_timer(void *arg);

/* client_failure.c */
/* "127.0.0.1:5001" of the URL, for messages. */
const char *call_place(const struct http_call *c, char out[280]);
struct proxied_call call_proxied(const struct http_call *c, const char *place);
int call_code(CURLcode r);
bool call_refused(const struct http_call *c, CURLcode r);
/* Writes into the call's result what happened, for a person. */
void call_describe(struct http_call *c, CURLcode r);

#endif
