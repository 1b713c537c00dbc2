/* Bearer tokens of one upstream, by realm, service, scope and user (distribution "token authentication"). Many who want
 * the same token at one time cost one request. Thread: the fetch loop. */
#ifndef ENTREPOT_UPSTREAM_TOKEN_H
#define ENTREPOT_UPSTREAM_TOKEN_H

#include "common/source/source.h"
#include "common/http/client.h"

#define TOKEN_MAX (16 * 1024)
#define TOKEN_BODY_MAX (64 * 1024)

struct token_cache;
struct token_wait;

/* Borrowed for the call. */
struct token_ask {
    const char *realm, *service, *scope; /* scope: several are parted by spaces; service may be "" */
    const char *username;                /* NULL: anonymous */
    const char *password;                /* used by token_fetch only */
    const char *ca_file, *request_id;    /* may be NULL */
    enum http_reach reach;               /* where the realm may be */
};

struct token_cache *token_cache_new(struct http_client *client);
/* Nobody may be waiting any more. */
void token_cache_free(struct token_cache *c);
/* A token that will be good for a while yet, borrowed until the next call here; NULL: fetch it. */
const char *token_held(struct token_cache *c, const struct token_ask *ask);
/* The registry refused this token: it is not handed out again. */
void token_drop(struct token_cache *c, const struct token_ask *ask, const char *token);
/* Fetches, or waits with those who do already. done is called once, never before this returns: token (borrowed), or
 * NULL and why. */
struct token_wait *token_fetch(struct token_cache *c, const struct token_ask *ask,
                               void (*done)(const char *token, const struct fetch_end *end, void *arg), void *arg);
void token_wait_cancel(struct token_wait *w);
/* Fetches made so far. */
int64_t token_fetches(const struct token_cache *c);

#endif
