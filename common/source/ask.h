/* Questions to sources whose answers are small: does a tag exist and where does it point, a list of tags, referrers,
 * has it a blob. Equal questions asked at the same time, from whichever loops, cost one; a "no" of an upstream and a
 * failure are remembered for a moment. Thread: ask from any loop, answers come on that loop; the table is the fetch
 * loop's. */
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
    bool has_tag;                   /* the source told what it knows of the tag */
    struct tag_facts tag;
    int64_t age_s;
    char *body;
    size_t body_len;
    int64_t charged; /* for the body, to the budget of its kind */
    enum budget budget;
    const char *source; /* name of who answered */
};
void ask_answer_unref(struct ask_answer *a);
/* For use after the callback. */
struct ask_answer *ask_answer_ref(const struct ask_answer *a);

struct asker_config {
    struct loop *loop; /* fetch loop */
    int64_t negative_ms;
    unsigned (*sources)(const struct repo_name *repo, struct source *out[SOURCES_MAX], void *arg);
    void *arg;
};
struct asker *asker_new(const struct asker_config *cfg);
/* The fetch loop no longer runs: ends every question with ERR_CANCELLED, posted to the waiters' loops. */
void asker_cancel(struct asker *a);
/* After asker_cancel, when the waiters have heard. */
void asker_free(struct asker *a);
/* Fetch loop: nothing is remembered any more: a source is there again, and what failed, or was a no, is asked anew. */
void asker_forget(struct asker *a);
/* rq is copied. The answer is borrowed for the callback, which comes once, on this loop, never before this has
 * returned; with ERR_CANCELLED on shutdown, with ERR_TIMEOUT at the deadline (NULL: none), and then the question goes
 * on for those who ask later. The waiter is valid until the callback. */
struct ask_waiter *ask(struct asker *a, const struct fetch_request *rq, const struct deadline *deadline,
                       void (*done)(const struct ask_answer *answer, void *arg), void *arg);
/* The loop that asked, before done was called: it is not called. The question goes on: others may wait for it. */
void ask_leave(struct ask_waiter *w);

#endif
