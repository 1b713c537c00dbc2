/* Small questions to sources: whether a tag exists and where it points, a list of tags, referrers, whether a blob
 * exists. Equal questions that are asked at the same time, on any loops, cost one request. A "not found" and a failure
 * are remembered for a moment. Thread: ask on any loop, the answer comes on that loop; the table belongs to the fetch
 * loop. */
#ifndef ENTREPOT_SOURCE_ASK_H
#define ENTREPOT_SOURCE_ASK_H

#include "common/core/budget.h"
#include "common/core/buf.h"
#include "common/core/clock.h"
#include "common/core/loop.h"
#include "common/source/supply.h"

#include <stdatomic.h>

struct asker;
struct ask_waiter;

struct ask_answer {
    atomic_uint refs;
    struct fetch_end end;
    /* With end.code 0: */
    int64_t total;
    char media_type[MEDIA_TYPE_MAX + 1];
    bool has_digest;
    struct digest digest;
    char *link, *warning, *filters; /* NULL if none */
    bool has_tag;                   /* the source sent what it knows of the tag */
    struct tag_facts tag;
    int64_t age_s;
    char *body;
    size_t body_len;
    int64_t charged; /* bytes of the body that are counted in the budget of its kind */
    enum budget budget;
    const char *source; /* name of the source that answered */
};
void ask_answer_unref(struct ask_answer *a);
/* Takes a reference, for use after the callback. */
struct ask_answer *ask_answer_ref(const struct ask_answer *a);

struct asker_config {
    struct loop *loop;     /* fetch loop */
    struct workpool *pool; /* reads large manifests; NULL: the fetch loop does */
    int64_t negative_ms;
    unsigned (*sources)(const struct repo_name *repo, struct source *out[SOURCES_MAX], void *arg);
    void *arg;
};
struct asker *asker_new(const struct asker_config *cfg);
/* Only when the fetch loop no longer runs: ends every question with ERR_CANCELLED, posted to the waiters' loops. */
void asker_cancel(struct asker *a);
/* Only after asker_cancel, when all waiters have been called. */
void asker_free(struct asker *a);
/* Fetch loop. Forgets all answers, because a source can be reached again: failures and "not found" are asked for
 * again. */
void asker_forget(struct asker *a);
/* Asks; rq is copied. done is called once, on this loop, never before ask has returned, with an answer that is borrowed
 * for the call: with ERR_CANCELLED at shutdown, with ERR_TIMEOUT at the deadline (NULL: none). After a timeout the
 * question goes on for later waiters. The waiter is valid until done is called. */
struct ask_waiter *ask(struct asker *a, const struct fetch_request *rq, const struct deadline *deadline,
                       void (*done)(const struct ask_answer *answer, void *arg), void *arg);
/* On the loop that asked, before done was called: done will not be called. The question goes on for other waiters. */
void ask_leave(struct ask_waiter *w);

#endif
