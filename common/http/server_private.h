/* Structures shared by the files of the HTTP server only. Thread: one serving loop, except for struct http_server's
 * atomics and its address table. */
#ifndef ENTREPOT_HTTP_SERVER_PRIVATE_H
#define ENTREPOT_HTTP_SERVER_PRIVATE_H

#include <event2/event_struct.h>
#include <pthread.h>
#include <sys/queue.h>

#include "common/core/buf.h"
#include "common/core/map.h"
#include "common/core/workpool.h"
#include "common/http/chunked.h"
#include "common/http/head.h"
#include "common/http/tls.h"

#define IN_FIRST 4096       /* input buffer of a connection with a request */
#define IN_FIRST_PEER 1024  /* of a node of ours: its heads are short, and thousands of them stay connected */
#define SCRATCH (64 * 1024) /* of a loop, for received bodies and TLS output; bytes */
/* A loop's pass stays short, so that a small request never waits for many large answers: once it has taken PASS_US,
 * connections that could send go to the end of the queue of those whose turn comes in later passes. */
#define PASS_US 2000
#define SEND_PER_TURN (2 << 20) /* bytes sent in one turn of a connection; encrypting takes longer */
#define SEND_PER_TURN_TLS (512 << 10)
#define SEND_LATE (64 << 10) /* bytes sent in a first turn that comes late in a pass */
#define DRAIN_BODY_MAX (64 * 1024)
#define LINGER_BYTES (256 * 1024)
#define LINGER_MS 2000
#define PLAIN_CLOSE_MAX (16 * 1024)
#define PIPELINED_PER_TURN 16 /* requests of one connection answered before others get their turn */
#define TLS_HANDSHAKE 0x16    /* the first byte of a TLS client */
#define TLS_TOLD_EVERY_MS 60000
#define SEG_FIRST 512 /* small pieces of an answer share a segment of this size */

enum seg_kind { SEG_MEM, SEG_REF, SEG_FILE };
/* A part of the answer that waits to be sent. */
struct seg {
    STAILQ_ENTRY(seg) link;
    enum seg_kind kind;
    const char *data;
    size_t len, off, cap; /* cap: of own */
    struct open_file *file;
    int64_t file_off, file_len;
    int64_t warm_end; /* the file is known to be in memory up to here */
    void (*release)(void *arg);
    void *release_arg;
    char own[];
};
STAILQ_HEAD(seg_list, seg);

/* The fields of one repeated header, joined; kept until the request ends. */
struct joined {
    struct joined *next;
    const struct head_field *first;
    char text[];
};

enum conn_state {
    CONN_TLS,    /* first byte awaited or TLS handshake under way */
    CONN_IDLE,   /* between requests */
    CONN_HEAD,   /* part of a head has come */
    CONN_BUSY,   /* a request is with its handler */
    CONN_LINGER, /* answered and shut down for writing; what still comes in is dropped for a moment */
    CONN_DEAD,   /* to be freed when the stack has unwound */
};

enum reply_state { REPLY_NONE, REPLY_STREAMING, REPLY_ENDED };

struct http_req {
    struct http_conn *conn;
    struct head head;
    char id[65];
    char remote[IP_TEXT_MAX]; /* the client for which the peer, a proxy, asks; "": the peer itself */
    const char *note, *about;
    void *user;
    void (*on_close)(struct http_req *r, bool cut);
    void (*on_stop)(struct http_req *r); /* may be NULL; set to NULL once called */
    int64_t start_us, first_byte_us;
    /* The answer. */
    enum reply_state reply;
    bool head_only, chunked_out, close_after;
    bool answer_is_held; /* answer although the client has shut down its sending side */
    bool taken_over;     /* the server has answered itself (413, 408, 400, 500), so the handler's answer is ignored */
    bool wrong_size;     /* the handler gave more or fewer bytes than the head promised: cut, never kept alive */
    int64_t promised;    /* body bytes the head promises; -1: not said */
    int status;
    int64_t body_sent; /* given to the kernel or lost with the connection; counted when queued */
    struct buf extra;  /* header lines of the answer */
    int64_t low_water;
    void (*on_drain)(struct http_req *r);
    void (*on_unreadable)(struct http_req *r, int64_t left);
    /* The request body. */
    const struct http_body_sink *sink;
    int64_t body_limit, body_got, body_left; /* left: of a Content-Length */
    bool has_body, body_done, body_paused, reading_body, resume;
    struct chunked chunks;
    char *spill; /* body bytes read and not wanted yet, beyond what fits in the input buffer, whose strings must not
                    move */
    size_t spill_len, spill_pos;
    struct buf collected;
    void (*collect_fn)(struct http_req *r, const char *body, size_t len);
    int64_t rate_ms, rate_bytes; /* start of the current 10 s window, bytes in it */
    struct joined *joined;
    struct http_req *next_free;
};

/* Among whose connections it is: those of its address, or of the name that its other end has shown (peer). */
enum conn_counted { NOT_COUNTED, COUNTED_BY_ADDRESS, COUNTED_BY_NAME };

struct http_conn {
    TAILQ_ENTRY(http_conn) all_link, idle_link;
    struct loop_share *share;
    int fd;
    int passed; /* a descriptor that came with the bytes of a UNIX socket; -1: none */
    SSL *ssl;
    struct http_peer *peer; /* NULL: no certificate was shown */
    uint64_t peer_checked;  /* the changes() up to which it may stay; 0: not asked yet */
    enum conn_state state;
    struct event ev_in, ev_out;
    bool in_armed, out_armed, in_idle, peer_closed, dirty, in_handler, tls_wants_write, sniffing;
    bool corked; /* only full segments leave until the queue is empty */
    bool is_unix;
    bool young; /* in its first turn, right after it was accepted; not registered with the event loop yet */
    bool more;  /* a pipelined request, or a part of one, is already here */
    char *in;
    size_t in_len, in_cap, in_pos, scanned;
    struct http_req *req;
    struct seg_list out;
    uint64_t whose;      /* http_req_asked_by */
    struct ahead *ahead; /* the disk is read for the segment at the front */
    int64_t out_bytes;   /* body and head bytes queued */
    int64_t since_ms;    /* start of the current state */
    int64_t sent_ms;     /* last time the client took a byte */
    int64_t linger_left;
    char remote[64];
    struct ip ip; /* of the other end, if has_ip */
    bool has_ip;
    enum conn_counted counted;
    struct ip addr; /* COUNTED_BY_ADDRESS */
    TAILQ_ENTRY(http_conn) dirty_link;
    unsigned dirty_round;
};
TAILQ_HEAD(conn_list, http_conn);

struct loop_share {
    struct http_server *server;
    struct loop *loop;
    unsigned index;
    int listen_fd;
    struct event *ev_listen;
    struct timer sweep, accept_again, later, grace; /* later: for connections that did not get a turn in this pass */
    struct loop_task flush;                         /* at the end of this pass */
    struct conn_list all, idle, dirty, dead;
    size_t n_all;
    unsigned flush_round; /* what becomes dirty during a flush is flushed next time */
    struct http_req *free_reqs;
    unsigned n_free_reqs;
    uint64_t peer_changes; /* changes() of the peers when the sweep began */
    int64_t now_ms;        /* of the last event, coarse */
    int64_t common_s;      /* the second that `common` is of */
    size_t common_len;
    char common[120]; /* header lines of every answer: Date, Server, the start of X-Request-Id */
    char scratch[SCRATCH];
    bool frees_dead;                  /* conn_free_dead comes at the end of this callback */
    bool draining, drained, finished; /* finished: its events are freed, only memory is left */
    bool abandoned;                   /* freed before its loop ran: on_start frees it */
    struct loop_task start, drain, finish;
};

struct http_server {
    struct http_server_config cfg;
    unsigned n_loops, port;
    struct loop_share **shares;
    char unix_path[108];
    pthread_mutex_t count_lock; /* guards addrs and names, for a few instructions at accept and close */
    struct map *addrs, *names;  /* address or certified name -> how many connections */
    atomic_uint shares_left;
    int64_t grace_ms;
    void (*drained)(void *arg);
    void *drained_arg;
    _Atomic int64_t tls_told_ms; /* when the log last told of TLS at a plain port; 0: never */
    _Atomic int64_t connections, accepted, refused, requests, bad_requests;
};

/* server.c */
void share_conn_closed(struct http_conn *c);
/* The other end has shown who it is, so it is counted by its name from now on: behind a NAT many edges have one address.
 * False: that name has too many connections. */
bool share_conn_certified(struct http_conn *c);
/* Call first in a callback of the loop; it ends with conn_free_dead. */
void loop_share_enter(struct loop_share *sh);

/* server_request.c */
struct http_req *req_new(struct http_conn *c);
void req_free(struct loop_share *sh, struct http_req *r);
/* Makes a new request id. */
void req_make_id(char id[65]);
/* Gives the request the id that its client sent, or a new one. */
void req_set_id(struct http_req *r);
/* Calls the server's access callback: the request is over. cut: its answer has not left as a whole. */
void req_report(struct http_req *r, bool cut);

/* conn_tls.c */
/* Goes on with the first bytes and the handshake. True: the connection may speak HTTP. */
bool conn_tls_ready(struct http_conn *c);

/* conn.c */
void conn_set_state(struct http_conn *c, enum conn_state state);
/* counted_as: NULL if connections of its address are not counted. */
void conn_new(struct loop_share *sh, int fd, const struct sockaddr *addr, const struct ip *counted_as);
void conn_abort(struct http_conn *c);        /* cuts the connection; its request, if any, gets on_close(cut) */
void conn_request_done(struct http_conn *c); /* the answer has left */
/* An error was answered without a request: nothing more is read, and the connection closes when it has been sent. */
void conn_refused(struct http_conn *c);
void conn_sweep(struct http_conn *c);
/* Does what callbacks have left: resumes the body, flushes the answer, continues with pipelined requests. */
void conn_turn(struct http_conn *c);
void conn_free_dead(struct loop_share *sh);
void conn_arm_in(struct http_conn *c, bool on);
void conn_arm_out(struct http_conn *c, bool on);
/* Reads into buf; > 0, 0 for end of stream, -EAGAIN, or another negative errno. */
ssize_t conn_recv(struct http_conn *c, void *buf, size_t len);

/* conn_passed.c */
/* As conn_recv, for a UNIX socket: keeps a descriptor that is passed. */
ssize_t conn_recv_unix(struct http_conn *c, void *buf, size_t len);

/* request_body.c */
bool body_too_slow(struct http_req *r, int64_t now_ms);
/* Continues reading the body: first what is buffered, then from the socket. */
void body_read_more(struct http_conn *c);
/* Drops the rest of a body that nobody read, after the answer, if it is short and already received. False: the
 * connection closes. */
bool body_skip(struct http_conn *c);

/* reply.c */
/* Sends what is queued until the socket is full. */
void reply_flush(struct http_conn *c);
/* Marks the connection for flushing after the current callback. */
void reply_dirty(struct http_conn *c);
/* Queues the connection for a turn to send, in this pass or a later one. */
void reply_queue_turn(struct http_conn *c);
/* True if this pass has taken long enough. */
bool share_is_late(struct loop_share *sh);
void reply_drop_queue(struct http_conn *c);
/* Answers an error of the server itself; the connection closes afterwards. Also works without a request. */
void reply_error(struct http_conn *c, int status, const char *target, const char *msg);
/* The body of such an answer. */
size_t reply_error_body(const struct http_server *s, int status, const char *target, const char *msg, char *buf,
                        size_t cap, struct http_error_form *form);
void reply_raw(struct http_conn *c, const char *data, size_t len);

/* ahead.c */
/* True if the file segment at the front can be sent without waiting for a disk. False: it is being read, and the
 * connection gets its turn afterwards. */
bool ahead_ready(struct http_conn *c, struct seg *s);
/* Called when the connection's queue is dropped. */
void ahead_forget(struct http_conn *c);

/* reply_head.c */
#define REPLY_HEAD_MAX 1024
/* Writes the status line and the server's own fields; the handler's (r->extra) and the empty line follow. length -1: no
 * length. Decides whether the connection closes afterwards. Returns the length. */
size_t reply_head(struct http_req *r, int status, const char *type, int64_t length, char out[REPLY_HEAD_MAX]);
/* A whole head, empty line included, for an answer without a request. */
size_t reply_head_alone(struct http_conn *c, int status, const struct http_error_form *form, size_t length,
                        char out[REPLY_HEAD_MAX]);

#endif
