/* Messages to central's fleet port (POST, protobuf), and their answers. When central goes away, patient messages wait
 * until it is back; all others fail at once. Thread: the fetch loop. */
#ifndef ENTREPOT_EDGE_LINK_CENTRAL_POST_H
#define ENTREPOT_EDGE_LINK_CENTRAL_POST_H

#include "edge/link/central.h"

/* All messages under way. */
struct central_posts;
struct central_post;

/* c is borrowed, and must outlive the posts. */
struct central_posts *central_posts_new(const struct central *c);
/* Messages under way are given up; nobody is called. */
void central_posts_free(struct central_posts *all);

struct central_message {
    const char *path; /* borrowed for ever */
    const void *body; /* protobuf; copied */
    size_t len;
    bool patient;           /* waits for central while it may only restart, rather than fail at once */
    bool in_turn;           /* as in struct http_call_spec */
    uint64_t settings;      /* version of the settings that it goes by */
    uint32_t client;        /* for which it asks (wire/node_headers.h); 0: none, or several */
    const char *request_id; /* copied; NULL: none */
};
typedef void central_post_done_fn(const struct fetch_end *end, const char *body, size_t len, void *arg);
/* Sends it; the answer's body (at most 16 MiB) is borrowed. done is called exactly once, never before this has returned,
 * unless central_posts_free or central_post_leave comes first. The post is valid until then. */
struct central_post *central_post(struct central_posts *all, const struct central_message *m,
                                  central_post_done_fn *done, void *arg);
/* Whoever asked has gone: done will not be called. */
void central_post_leave(struct central_post *p);

/* --- what the owner of the breaker passes on --- */

/* Whether a message waits for its answer to begin. */
bool central_posts_wait(const struct central_posts *all);
/* Central has gone: one message that waits for its answer is kept until central is back, or fails. Call it until none
 * waits, from the loop each time, because whoever is told may start others. */
void central_posts_gone(struct central_posts *all);
/* Central is back: what was kept is sent. */
void central_posts_back(struct central_posts *all);
/* Central is not back in the time that a restart takes: what was kept fails, from the loop. */
void central_posts_gave_up(struct central_posts *all);

#endif
